// Today's users: their usages of `rhachet/keyrack`, with nothing changed but the import line, and
// their shell skills through the wrapper of docs/wrap.md. On a rack of their own, with the package
// laid out as it is published and installed.

import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { createRequire } from 'node:module';
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { spawn } from 'node:child_process';
import { stageRoot } from '../scripts/pack.mjs';

const require = createRequire(import.meta.url);
const { bin, isAlive, legacy, makeHome, root, run } = require('./helpers/home.cjs');
const { writeSshKey } = require('./helpers/ssh.cjs');
const { platformDirectory, platformName } = require('../lib/platform.js');

vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 });

/** The code blocks of a language in a page. */
const blocks = (page, language) => [...readFileSync(join(root, 'docs', page), 'utf8').matchAll(/^```(\w+)\n(.*?)^```/gms)].filter(([, of]) => of === language).map(([, , code]) => code);

let home;
let project;
let env;
const cli = (args, input) => run(bin('keyrack'), args, { cwd: project, env, input });
const node = (file, more = {}, args = []) => run(process.execPath, [file, ...args], { cwd: project, env: { ...env, ...more } });
const skill = (name, more = {}) => run(join(project, 'skills', `${name}.sh`), [], { cwd: project, env: { ...env, ...more } });
const owner = (name) => ['--owner', name];
const set = async (of, keyEnv, key, value) => expect(await cli(['set', ...owner(of), '--env', keyEnv, '--key', key, '--vault', 'os.secure', '--mech', 'PERMANENT_VIA_REPLICA'], value)).toMatchObject({ status: 0 });
const unlock = async (keyEnv) => expect(await cli(['unlock', ...owner('ehmpath'), '--env', keyEnv])).toMatchObject({ status: 0 });
const relock = async () => expect(await cli(['relock', ...owner('ehmpath')])).toMatchObject({ status: 0 });

beforeAll(async () => {
  home = makeHome();
  project = home.repo;
  writeSshKey(home.home);
  cpSync(join(root, '__tests__', 'consumer'), project, { recursive: true });
  mkdirSync(join(project, 'node_modules', '.bin'), { recursive: true });
  mkdirSync(join(project, 'node_modules', '@types'));
  stageRoot(join(project, 'node_modules', 'keyrack'));
  cpSync(platformDirectory(platformName()), join(project, 'node_modules', '@keyrack', platformName()), { recursive: true });
  for (const name of ['@types/node', 'undici-types', 'vitest']) symlinkSync(join(root, 'node_modules', name), join(project, 'node_modules', name));
  const [wrapper] = blocks('wrap.md', 'js');
  writeFileSync(join(project, 'node_modules', '.bin', 'rhx'), wrapper, { mode: 0o755 });
  env = { ...home.env, PATH: `${join(project, 'node_modules', '.bin')}:${process.env.PATH}` };

  for (const name of ['ehmpath', 'admin']) expect(await cli(['init', ...owner(name), '--org', 'ehmpathy'])).toMatchObject({ status: 0 });
  await set('ehmpath', 'test', 'XAI_API_KEY', 'xai test');
  await set('ehmpath', 'test', 'OPENAI_API_KEY', 'openai test');
  await set('ehmpath', 'prep', 'XAI_API_KEY', 'xai prep');
  await set('ehmpath', 'prep', 'AWS_PROFILE', 'ehmpathy.prep');
  await set('ehmpath', 'prep', 'EHMPATHY_SEATURTLE_GITHUB_TOKEN', 'turtle');
  await set('ehmpath', 'prep', 'EHMPATH_BEAVER_GITHUB_TOKEN', 'beaver');
  await set('admin', 'sudo', 'ROOT_TOKEN', "it's root");
  const compiled = await run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', '.'], { cwd: project, env });
  expect(compiled).toMatchObject({ status: 0, stdout: '' });
});
afterAll(async () => {
  for (const name of ['ehmpath', 'admin']) await cli(['daemon', 'stop', ...owner(name)]);
  home?.remove();
});

/** What a function gives once it gives something; fails after ten seconds. */
async function until(look) {
  for (const end = Date.now() + 10_000; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 10))) {
    const found = look();
    if (found) return found;
  }
  throw new Error('what was waited for did not come');
}

const proc = (pid, file) => {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8').trim();
  } catch {
    return '';
  }
};
const comm = (pid) => proc(pid, 'comm');
const children = (pid) => proc(pid, `task/${pid}/children`).split(' ').filter(Boolean).map(Number);

const UNLOCK = 'unlock --owner ehmpath --env';

describe('jest and vitest with an env file', () => {
  const jest = () => run(process.execPath, [join(root, 'node_modules/jest/bin/jest.js'), '--ci'], { cwd: project, env: { ...env, AWS_ACCESS_KEY_ID: 'from oidc' } });
  const vitest = () => run(process.execPath, [join(root, 'node_modules/vitest/vitest.mjs'), 'run', '--root', project], { cwd: project, env: { ...env, AWS_ACCESS_KEY_ID: 'from oidc' } });

  it('exit with 2 and print the fix while a key is locked', async () => {
    await relock();
    const { status, stdout, stderr } = await jest();
    expect(status).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toContain(`tip: npx keyrack ${UNLOCK} test --key XAI_API_KEY`);
    expect(stderr.match(/strictly required/g)).toHaveLength(1);
    expect((await vitest()).status).toBe(1);
  });

  it('run the tests once the key is unlocked', async () => {
    await unlock('test');
    expect(await jest()).toMatchObject({ status: 0 });
    expect(await vitest()).toMatchObject({ status: 0 });
  });

  it('use the environment of a CI runner, without a rack', async () => {
    const keys = { XAI_API_KEY: 'xai test', OPENAI_API_KEY: 'openai test', AWS_ACCESS_KEY_ID: 'from oidc' };
    expect(await node('dist/jest.integration.env.js', { HOME: home.base, ...keys })).toMatchObject({ status: 0, stdout: '', stderr: '' });
    expect(await node('dist/jest.integration.env.js', { HOME: home.base, ...keys, XAI_API_KEY: '' })).toMatchObject({ status: 2, stdout: '' });
    expect(await node('dist/jest.acceptance.env.js', { HOME: home.base })).toMatchObject({ status: 0, stdout: '', stderr: '' });
  });
});

describe('TypeScript', () => {
  it('a wish file sources at its top level', async () => {
    await unlock('prep');
    expect(await node('dist/src/resources.wish.js')).toMatchObject({ status: 0, stdout: '{"profile":"ehmpathy.prep"}\n', stderr: '' });
    await relock();
    const { status, stdout, stderr } = await node('dist/src/resources.wish.js');
    expect([status, stdout]).toStrictEqual([2, '']);
    expect(stderr).toContain(`tip: npx keyrack ${UNLOCK} prep --key AWS_PROFILE`);
  });

  it('a provider gets a token, or prints the tree with the fix', async () => {
    await unlock('prep');
    expect(await node('dist/src/provider.github.js')).toMatchObject({ status: 0, stdout: 'turtle\n', stderr: '' });
    const { status, stdout, stderr } = await node('dist/src/provider.github.js', {}, ['NO_SUCH_TOKEN']);
    expect([status, stdout]).toStrictEqual([2, '']);
    expect(stderr).toBe('\n🔐 keyrack\n   └─ ehmpathy.prep.NO_SUCH_TOKEN\n      ├─ status: absent 🫧\n      └─ tip: npx keyrack set --owner ehmpath --env prep --key NO_SUCH_TOKEN --vault os.secure --mech PERMANENT_VIA_REPLICA\n\n\n');
  });

  it('a role gets one key, or exits with 2', async () => {
    await relock();
    const locked = await node('dist/src/roles/review.js');
    expect(locked).toMatchObject({ status: 2, stdout: '' });
    expect(locked.stderr).toContain('status: locked');
    await unlock('test');
    expect(await node('dist/src/roles/review.js')).toMatchObject({ status: 0, stdout: 'ehmpathy.test.XAI_API_KEY os.secure 8\n' });
  });

  it('a practice lists the names of keys, whatever their status', async () => {
    expect(await node('dist/src/declapract.workflow.js')).toMatchObject({ status: 0, stdout: '["OPENAI_API_KEY","XAI_API_KEY","AWS_PROFILE"]\n', stderr: '' });
  });

  it('types of rhachet accept the results', async () => {
    const { stdout } = await node('dist/src/casts.js');
    expect(JSON.parse(stdout)).toStrictEqual({ vaults: ['os.secure', 'os.secure'], mechs: ['PERMANENT_VIA_REPLICA', 'PERMANENT_VIA_REPLICA'], statuses: ['granted', 'granted', 'absent'], one: 'granted', plain: true });
  });

  it('a supplier gets or unlocks exactly its keys', async () => {
    await relock();
    const { status, stdout, stderr } = await node('dist/src/brain.js');
    expect({ status, stderr }).toStrictEqual({ status: 0, stderr: '' });
    const [creds, ...rest] = stdout.split('\n');
    expect(JSON.parse(creds)).toStrictEqual({ XAI_API_KEY: 'xai test', OPENAI_API_KEY: 'openai test' });
    expect(rest.join('\n')).toContain('└─ ehmpathy.test.NEVER_SET\n      ├─ status: absent 🫧');
    expect(rest.join('\n')).not.toContain('xai test');
    expect(rest.at(-2)).toBe('true');
  });

  it('a context reads keys', async () => {
    const { stdout } = await node('dist/src/contexts.js');
    expect(JSON.parse(stdout)).toStrictEqual({ one: 'granted', slugs: ['ehmpathy.test.OPENAI_API_KEY', 'ehmpathy.test.XAI_API_KEY', 'ehmpathy.test.AWS_PROFILE'], all: ['granted', 'granted', 'absent'] });
  });

  it('set stores a key by slug', async () => {
    expect(await node('dist/src/host.js')).toMatchObject({ status: 0, stdout: 'ehmpathy.test.STORED os.secure PERMANENT_VIA_REPLICA null true\n', stderr: '' });
    expect(await cli(['del', ...owner('ehmpath'), '--env', 'test', '--key', 'STORED'])).toMatchObject({ status: 0 });
  });
});

it('getSync reads a key that rhachet unlocked from a vault unknown to keyrack', async () => {
  await unlock('test');
  const grant = { slug: 'ehmpathy.test.AWS_PROFILE', key: { secret: 'ehmpathy.test', grade: { protection: 'reference', duration: 'ephemeral' } }, source: { vault: 'aws.config', mech: 'EPHEMERAL_VIA_AWS_SSO' }, env: 'test', org: 'ehmpathy', expiresAt: new Date(Date.now() + 60_000).toISOString() };
  await legacy(home.socket.replace('.sock', '.ehmpath.sock'), 'UNLOCK', { keys: [grant] });
  expect(JSON.parse((await cli(['get', ...owner('ehmpath'), '--env', 'test', '--key', 'AWS_PROFILE', '--json'])).stdout)).toStrictEqual({ status: 'granted', grant });
  await cli(['relock', ...owner('ehmpath'), '--key', grant.slug]);
});

describe('JavaScript', () => {
  it('require and import give the same functions', async () => {
    await unlock('prep');
    expect(await node('js/roles.cjs')).toMatchObject({ status: 0, stdout: 'beaver\n', stderr: '' });
    expect(await node('js/source.mjs')).toMatchObject({ status: 0, stdout: 'xai prep\n', stderr: '' });
  });
});

describe('shell skills through the wrapper of docs/wrap.md', () => {
  it('prints a value, or nothing', async () => {
    await relock();
    const locked = await skill('value', { ENV: 'prep' });
    expect(locked).toMatchObject({ status: 0, stdout: 'profile=[]\n' });
    expect(locked.stderr).toContain(`tip: rhx keyrack ${UNLOCK} prep --key AWS_PROFILE`);
    await unlock('prep');
    expect(await skill('value', { ENV: 'prep' })).toMatchObject({ status: 0, stdout: 'profile=[ehmpathy.prep]\n', stderr: '' });
  });

  it('unlocks without output', async () => {
    await relock();
    expect(await skill('unlock')).toMatchObject({ status: 0, stdout: 'ehmpathy.test.OPENAI_API_KEY ehmpathy.test.XAI_API_KEY\n', stderr: '' });
  });

  it('sources a sudo key of another owner', async () => {
    expect((await skill('sudo')).stderr).toContain('tip: rhx keyrack unlock --owner admin --env sudo --key ROOT_TOKEN');
    expect(await cli(['unlock', ...owner('admin'), '--env', 'sudo', '--key', 'ROOT_TOKEN'])).toMatchObject({ status: 0 });
    expect(await skill('sudo')).toMatchObject({ status: 0, stdout: "root=[it's root]\n", stderr: '' });
  });

  it('unlocks and prints the value as the last line', async () => {
    await relock();
    expect(await skill('tail')).toMatchObject({ status: 0, stdout: 'token=[turtle]\n', stderr: '' });
  });

  it('pipes a value into the next command', async () => {
    expect(await skill('pipe')).toMatchObject({ status: 0, stdout: 'ehmpathy.test.COPIED\nxai prep' });
    expect(await cli(['del', ...owner('ehmpath'), '--env', 'test', '--key', 'COPIED'])).toMatchObject({ status: 0 });
  });

  it("exports the declared secrets of a CI job", async () => {
    const file = join(home.base, 'github_env');
    writeFileSync(file, '');
    const secrets = { XAI_API_KEY: 'xai of ci', OPENAI_API_KEY: 'openai of ci', UNDECLARED: 'never' };
    const job = { HOME: home.base, GITHUB_ENV: file, SECRETS_JSON: JSON.stringify(secrets), AWS_ACCESS_KEY_ID: 'from oidc' };
    expect(await skill('ci', job)).toMatchObject({ status: 0, stdout: 'xai of ci, nothing undeclared\n', stderr: '' });
  });

  it('shows the fix of a locked key', async () => {
    await relock();
    expect(await skill('expired')).toMatchObject({ status: 2, stdout: `      └─ tip: rhx keyrack ${UNLOCK} test --key XAI_API_KEY\n` });
  });
});

describe('docs/switch-from-rhachet.md', () => {
  it('every name of rhachet is exported, or has a replacement', () => {
    const values = ['keyrack', 'formatKeyrackKeyBranch', 'formatKeyrackGetOneOutput', 'formatKeyrackGetAllOutput', 'genContextKeyrack', 'genContextKeyrackGrantGet', 'getKeyrackKeyGrant', 'setKeyrackKeyHost', 'KeyrackHostManifest', 'KeyrackKeyGrant', 'KeyrackKeyHost', 'KeyrackKeySpec', 'KeyrackRepoManifest'];
    const types = ['KeyrackGrantAttempt', 'KeyrackGrantMechanism', 'KeyrackGrantMechanismAdapter', 'KeyrackGrantStatus', 'KeyrackHostVault', 'KeyrackHostVaultAdapter', 'KeyrackKeyBranchEntry', 'ContextKeyrack', 'ContextKeyrackGrantGet'];
    const page = readFileSync(join(root, 'docs', 'switch-from-rhachet.md'), 'utf8');
    const absent = page.split('## What is missing')[1].split('\n').filter((line) => line.startsWith('| ')).map((line) => line.split('|')[1]).join();
    const declared = readFileSync(join(root, 'index.d.ts'), 'utf8');
    const isAbsent = (name) => new RegExp(`\\b${name}\\b`).test(absent);
    for (const name of values) expect([name, require('../index.js')[name] !== undefined || isAbsent(name)]).toStrictEqual([name, true]);
    for (const name of types) expect([name, new RegExp(`^export (type|interface) ${name}\\b`, 'm').test(declared) || isAbsent(name)]).toStrictEqual([name, true]);
  });
});

describe('the wrapper', () => {
  const wrappers = [
    ['in Node', () => join(project, 'node_modules', '.bin', 'rhx')],
    ['in sh', () => {
      const [script] = blocks('wrap.md', 'sh');
      const file = join(project, 'tools', 'rhx');
      mkdirSync(join(project, 'tools'), { recursive: true });
      writeFileSync(file, script, { mode: 0o755 });
      return file;
    }],
  ];

  it('has at most ten lines', () => {
    const [wrapper] = blocks('wrap.md', 'js');
    expect(wrapper.split('\n').filter((line) => line.trim() !== '').length).toBeLessThanOrEqual(10);
  });

  it.each(wrappers)('%s behaves like the command', async (_, make) => {
    const rhx = make();
    await unlock('test');
    for (const args of [
      ['get', ...owner('ehmpath'), '--env', 'test', '--for', 'repo'],
      ['get', ...owner('ehmpath'), '--env', 'test', '--key', 'XAI_API_KEY', '--value'],
      ['get', ...owner('ehmpath'), '--env', 'test', '--key', 'NO_SUCH', '--json'],
      [...owner('ehmpath'), 'source', '--env', 'test', '--lenient'],
      ['--for', 'ehmpath', 'list', '--json'],
      ['get', '--help'],
      ['nope'],
    ]) {
      const direct = await run(bin('keyrack'), args, { cwd: project, env: { ...env, KEYRACK_INVOKED_AS: 'rhx keyrack' } });
      const wrapped = await run(rhx, ['keyrack', ...args], { cwd: project, env });
      expect({ ...wrapped, ms: 0 }).toStrictEqual({ ...direct, ms: 0 });
    }
  });

  it.each(wrappers)('%s forwards a signal', async (_, make) => {
    // Something of the command's that stays: a set that waits for its secret.
    const child = spawn(make(), ['keyrack', 'set', ...owner('ehmpath'), '--env', 'test', '--key', 'WAITS', '--vault', 'os.secure', '--mech', 'PERMANENT_VIA_REPLICA'], { cwd: project, env, stdio: ['pipe', 'ignore', 'ignore'] });
    const ended = new Promise((resolve) => child.once('exit', (status, signal) => resolve(signal ?? status)));
    const command = await until(() => [child.pid, ...children(child.pid)].find((pid) => comm(pid) === 'keyrack'));
    child.kill('SIGTERM');
    expect(await ended).toBe(command === child.pid ? 'SIGTERM' : 143);
    expect(isAlive(command)).toBe(false);
  });
});
