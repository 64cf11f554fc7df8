// Other ways of laying out what is installed: the native part and the command are found in each.

import { afterEach, expect, it } from 'vitest';
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { inject } from 'vitest';
import { join } from 'node:path';
import { makeConsumer } from './consumer.mjs';

const WHERE = "console.log(require('keyrack/bin').binaryPath(), require('keyrack').status())";
let consumer;
afterEach(() => consumer?.end());

/** That node finds the native part from a directory, and that a command there is it. */
async function works(directory, command) {
  const { stdout, stderr } = await consumer.run([process.execPath, '-e', WHERE], { cwd: directory });
  expect([stdout, stderr]).toStrictEqual([expect.stringMatching(new RegExp(`@keyrack/${inject('packed').name}/bin/keyrack null\\n$`)), '']);
  expect(await consumer.run([command, '--version'], { cwd: directory })).toMatchObject({ status: 0, stdout: expect.stringMatching(/^keyrack \d/) });
}

it('npm, globally, with the manual pages', async () => {
  consumer = makeConsumer('npm');
  const prefix = join(consumer.base, 'prefix');
  await consumer.ok(['npm', 'install', '--global', '--prefix', prefix, '--ignore-scripts', 'keyrack']);
  // Without node on the PATH as well: it is found by the shell alone.
  mkdirSync(join(consumer.base, 'tools'));
  for (const tool of ['sh', 'readlink', 'uname']) symlinkSync(existsSync(`/bin/${tool}`) ? `/bin/${tool}` : `/usr/bin/${tool}`, join(consumer.base, 'tools', tool));
  const env = { ...consumer.env, PATH: join(consumer.base, 'tools') };
  const says = { status: 0, stdout: expect.stringMatching(/^keyrack \d/) };
  expect(await consumer.run([join(prefix, 'bin/keyrack'), '--version'], { env })).toMatchObject(says);
  // Where the packages of several platforms are installed it is this machine's.
  const other = inject('packed').name.includes('x64') ? 'linux-arm64-gnu' : 'linux-x64-gnu';
  const native = join(prefix, 'lib/node_modules/keyrack/node_modules/@keyrack', other, 'bin');
  mkdirSync(native, { recursive: true });
  writeFileSync(join(native, 'keyrack'), '#!/bin/sh\necho wrong\n', { mode: 0o755 });
  expect(await consumer.run([join(prefix, 'bin/keyrack'), '--version'], { env })).toMatchObject(says);
  expect(readFileSync(join(prefix, 'share/man/man1/keyrack.1'), 'utf8')).toContain('keyrack');
});

it('npm, in a workspace', async () => {
  consumer = makeConsumer('npm');
  consumer.write('package.json', '{ "name": "whole", "private": true, "workspaces": ["parts/*"] }');
  consumer.write('parts/one/package.json', '{ "name": "one", "version": "1.0.0" }');
  await consumer.ok(['npm', 'install', '--ignore-scripts', '--workspace', 'one', 'keyrack']);
  await works(join(consumer.directory, 'parts/one'), join(consumer.directory, 'node_modules/.bin/keyrack'));
});

it('npm, linked as a directory of its own', async () => {
  consumer = makeConsumer('npm');
  await consumer.install(['--install-strategy=linked', 'keyrack']);
  await works(consumer.directory, join(consumer.directory, 'node_modules/.bin/keyrack'));
});

it('pnpm, hoisted', async () => {
  consumer = makeConsumer('pnpm');
  writeFileSync(join(consumer.directory, '.npmrc'), 'node-linker=hoisted\n');
  await consumer.install();
  await works(consumer.directory, join(consumer.directory, 'node_modules/.bin/keyrack'));
});

it('Yarn, with node_modules', async () => {
  consumer = makeConsumer('yarn');
  consumer.write('.yarnrc.yml', readFileSync(join(consumer.directory, '.yarnrc.yml'), 'utf8').replace('nodeLinker: pnp', 'nodeLinker: node-modules'));
  await consumer.install();
  await works(consumer.directory, join(consumer.directory, 'node_modules/.bin/keyrack'));
});
