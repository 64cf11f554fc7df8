// The package without its native part, as it may come to be installed: it loads, answers what the
// environment has, and the error has a fix. The fix then works.

import { afterEach, describe, expect, it } from 'vitest';
import { createRequire } from 'node:module';
import { inject } from 'vitest';
import { join } from 'node:path';
import { makeConsumer } from './consumer.mjs';
import { readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';

const require = createRequire(import.meta.url);
const { canRun, root, run } = require('../helpers/home.cjs');

let consumer;
afterEach(() => consumer?.end());

/**
 * What the installed package answers: an environment read, and what a read of the daemon fails
 * with; `before` is run first.
 */
async function answers(before = '') {
  const text = `${before}
    const keyrack = require('keyrack');
    const said = (call) => { try { return call() } catch ({ code, exit, fix, message, metadata }) { return { code, exit, fix, message, hint: metadata.hint } } };
    const { attempt } = keyrack.getSync({ for: { key: 'acme.test.FROM_ENV' } });
    console.log(JSON.stringify([attempt.grant?.key.secret, said(() => keyrack.status()), said(() => require('keyrack/bin').binaryPath())]));`;
  return JSON.parse(await consumer.node('absent.cjs', text, { env: { ...consumer.env, FROM_ENV: 'v' } }));
}

describe.each([['npm', 'npm install --force --include=optional keyrack'], ['pnpm', 'pnpm install']])('%s, with optional dependencies left out', (manager, fix) => {
  it('says what mends it, and that does', async () => {
    consumer = makeConsumer(manager);
    await consumer.ok(consumer.words.omit(['keyrack']));
    const missing = { code: 'binding_missing', exit: 1, fix, message: expect.stringContaining(inject('packed').name), hint: expect.stringContaining('optional') };
    expect(await answers()).toStrictEqual(['v', missing, missing]);
    expect(await consumer.keyrack(['status'])).toMatchObject({ status: 1, stderr: expect.stringContaining(`fix: ${fix}`) });

    const [, ...args] = fix.split(' ');
    await consumer.ok([...consumer.words.program, ...args], { timeout: 60_000 });
    expect(await answers()).toStrictEqual(['v', null, expect.stringMatching(/bin\/keyrack$/)]);
    expect(await consumer.keyrack(['--version'])).toMatchObject({ status: 0 });
  });
});

describe('yarn, with what it unplugged left behind', () => {
  it('says what mends it, and that does', async () => {
    consumer = makeConsumer('yarn');
    await consumer.install();
    rmSync(join(consumer.directory, '.yarn/unplugged', readdirSync(join(consumer.directory, '.yarn/unplugged')).find((each) => each.startsWith('@keyrack'))), { recursive: true });
    const missing = { code: 'binding_missing', exit: 1, fix: 'yarn install', message: expect.stringContaining(inject('packed').name), hint: expect.stringContaining('supportedArchitectures') };
    expect(await answers()).toStrictEqual(['v', missing, missing]);
    await consumer.ok([...consumer.words.program, 'install'], { timeout: 60_000 });
    expect(await answers()).toStrictEqual(['v', null, expect.stringMatching(/bin\/keyrack$/)]);
  });
});

describe.each(['npm', 'pnpm', 'yarn'])('%s, on a machine keyrack is not built for', (manager) => {
  it('names the machine', async () => {
    consumer = makeConsumer(manager);
    await consumer.install();
    const other = (name) => ({ code: 'unsupported_platform', exit: 1, message: expect.stringContaining(`not built for ${name}`), hint: expect.any(String) });
    const darwin = "Object.defineProperty(process, 'platform', { value: 'darwin' }); Object.defineProperty(process, 'arch', { value: 'arm64' });";
    expect(await answers(darwin)).toStrictEqual(['v', other('darwin-arm64'), other('darwin-arm64')]);
    const riscv = "Object.defineProperty(process, 'arch', { value: 'riscv64' });";
    expect(await answers(riscv)).toStrictEqual(['v', other('linux-riscv64-gnu'), other('linux-riscv64-gnu')]);
  });
});

describe('installed from git', () => {
  it('says how to build it, and tarballs so built install', async () => {
    if (!canRun('installed from git', 'git')) return;
    consumer = makeConsumer('npm');
    // A clone of this repository, without built files.
    const clone = `${consumer.base}/clone`;
    const git = (...args) => consumer.ok(['git', '-c', 'user.name=t', '-c', 'user.email=t@t', '-c', 'safe.directory=*', ...args]);
    const { stdout } = await run('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard', 'package.json', 'index.*', 'bin', 'lib', 'npm', 'README.md', 'LICENSE'], { cwd: root });
    await consumer.ok(['sh', '-c', 'mkdir "$1" && tar -C "$0" --null --files-from=- -cf - | tar -C "$1" -xf -', root, clone], { input: stdout });
    // npm prepares a git dependency that has a build script by installing what it is developed
    // with, which this registry does not have.
    const manifest = JSON.parse(readFileSync(join(clone, 'package.json'), 'utf8'));
    writeFileSync(join(clone, 'package.json'), JSON.stringify({ ...manifest, devDependencies: {} }));
    await git('init', '--quiet', clone);
    await git('-C', clone, 'add', '--all');
    await git('-C', clone, 'commit', '--quiet', '--message', 'clone');
    await consumer.install([`git+file://${clone}`]);
    const missing = { code: 'binding_missing', exit: 1, fix: 'npm run build && npm run pack:local -- --out packed', message: expect.stringContaining(inject('packed').name), hint: expect.stringContaining('clone') };
    expect(await answers()).toStrictEqual(['v', missing, missing]);

    // What the fix makes is what these tests were packed by.
    await consumer.install([inject('packed').root, inject('packed').platform]);
    expect(await answers()).toStrictEqual(['v', null, expect.stringMatching(/bin\/keyrack$/)]);
  });
});
