// Publishing, to a registry of this machine: the order, what is looked up in between, and that a
// second run goes on where the first stopped.

import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { copyFileSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { makeConsumer } from './consumer.mjs';
import { PLATFORMS } from '../../scripts/platforms.mjs';
import { serveRegistry } from './registry.mjs';

let consumer;
let registry;
let release;
const { root, platform, name } = inject('packed');

beforeAll(async () => {
  consumer = makeConsumer('npm');
  registry = await serveRegistry({ tarballs: [], absent: [] });
  Object.assign(consumer.env, { npm_config_registry: registry.url, [`npm_config_${registry.url.replace('http:', '')}/:_authToken`]: 'none' });
  release = join(consumer.base, 'release');
  mkdirSync(release);
  for (const tarball of [root, platform]) copyFileSync(tarball, join(release, tarball.split('/').at(-1)));
  // The other platforms need not be built to see how they are published.
  for (const each of PLATFORMS.filter((other) => other.name !== name)) {
    const directory = join(consumer.base, each.name);
    cpSync(each.directory, directory, { recursive: true, filter: (path) => !/keyrack\.node$|\/bin$/.test(path) });
    const manifest = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'));
    delete manifest.private;
    writeFileSync(join(directory, 'package.json'), JSON.stringify(manifest));
    execFileSync('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', release], { cwd: directory, env: consumer.env });
  }
});
afterAll(async () => {
  await consumer?.end();
  registry?.close();
});

const publish = (directory = release) => consumer.run([process.execPath, new URL('../../scripts/publish.mjs', import.meta.url).pathname, directory], { timeout: 60_000 });
const asked = async () => (await fetch(`${registry.url}/-/asked`)).json();

describe('a release', () => {
  it('is published platform by platform, each looked up before the next, and keyrack last', async () => {
    const { status, stdout, stderr } = await publish();
    expect([status, status === 0 ? '' : stderr]).toStrictEqual([0, '']);
    const all = [...PLATFORMS.map((each) => `@keyrack/${each.name}`), 'keyrack'];
    expect(stdout.match(/^published: .*$/gm)).toStrictEqual(all.map((each) => expect.stringMatching(new RegExp(`^published: ${each}@`))));
    const order = await asked();
    expect(order.filter((each) => each.startsWith('PUT'))).toStrictEqual(all.map((each) => `PUT ${each}`));
    const last = order.indexOf('PUT keyrack');
    for (const each of all.slice(0, -1)) expect(order.slice(order.indexOf(`PUT ${each}`), last)).toContain(each);
  });

  it('installs', async () => {
    await consumer.install();
    expect(await consumer.keyrack(['--version'])).toMatchObject({ status: 0, stdout: expect.stringContaining('keyrack') });
  });

  it('is left alone when it is there', async () => {
    const before = (await asked()).filter((each) => each.startsWith('PUT')).length;
    expect(await publish()).toMatchObject({ status: 0, stdout: expect.stringMatching(/was there: keyrack@/) });
    expect((await asked()).filter((each) => each.startsWith('PUT'))).toHaveLength(before);
  });

  it('is refused when something else is there under its name, and when it is not whole', async () => {
    const other = join(consumer.base, 'other');
    cpSync(release, other, { recursive: true });
    const file = platform.split('/').at(-1);
    // The same package, packed with other bytes.
    execFileSync('sh', ['-c', 'gzip -dc "$1" | gzip -1n > "$2"', 'sh', join(release, file), join(other, file)]);
    expect(await publish(other)).toMatchObject({ status: 1, stderr: expect.stringContaining('is on the registry already') });
    rmSync(join(other, file));
    expect(await publish(other)).toMatchObject({ status: 1, stderr: expect.stringContaining(`0 tarballs of @keyrack/${name}`) });
  });
});
