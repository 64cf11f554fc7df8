// A polluted Object.prototype adds no option, and its setters receive no value. Each case is its
// own process.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRequire } from 'node:module';
import { chownSync, lchownSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const require = createRequire(import.meta.url);
const { copyPackage, hold, makeHome, runNode, startDaemon } = require('./helpers/home.cjs');

const INDEX = join(import.meta.dirname ?? new URL('.', import.meta.url).pathname, '..', 'index.js');
const TOKEN = `ghp_${'a1B2'.repeat(9)}`;

let home;
let daemon;
let copy;
beforeAll(async () => {
  home = makeHome();
  daemon = await startDaemon(home);
  copy = copyPackage();
  home.manifest('org: acme\nenv.test:\n  - HELD\n  - GIVEN\n');
  await hold(home, { 'acme.test.HELD': 'held-s3cret' });
});
afterAll(async () => {
  await daemon?.stop();
  copy?.remove();
  home?.remove();
});

/**
 * Runs a body that can use `keyrack`. `answer` is its value, `seen` what setters received. The
 * prototype is clean again before the output.
 */
async function polluted(pollution, body, { index = INDEX, env = {}, cwd = home.repo } = {}) {
  const code = `
    const keyrack = require(${JSON.stringify(index)});
    const inspect = require('node:util').inspect;
    // Loaded before: what node itself does while it loads is not what is tried.
    try { keyrack.getSync({ for: { key: 'NONE' }, env: 'test' }); } catch {}
    let seen = '';
    const added = [];
    const plant = (name, descriptor) => { added[added.length] = name; Object.defineProperty(Object.prototype, name, { __proto__: null, configurable: true, ...descriptor }); };
    const hold = (members) => { for (const name of Object.keys(members)) plant(name, { value: members[name], writable: true, enumerable: true }); };
    const trap = (...names) => { for (const name of names) plant(name, { get() { return undefined; }, set(value) { seen += name + '=' + (typeof value === 'string' ? value : inspect(value, { depth: 9 })) + ';'; } }); };
    (async () => {
      let answer;
      ${pollution}
      try { answer = await (${body}); } catch (error) { answer = { code: error.code, name: error.name }; }
      for (let at = 0; at < added.length; at += 1) delete Object.prototype[added[at]];
      process.stdout.write(JSON.stringify({ answer: answer === undefined ? null : answer, seen }));
    })();`;
  const { stdout, stderr } = await runNode(code, { cwd, env: { ...home.env, GIVEN: 'given-s3cret', ...env } });
  expect(stdout, stderr).not.toBe('');
  return JSON.parse(stdout);
}

const one = (body) => `(() => { const { attempt } = ${body}; return { status: attempt.status, secret: Object.hasOwn(attempt, 'grant') ? attempt.grant.key.secret : null }; })()`;
const GRANTED = one(`keyrack.getSync({ for: { key: 'HELD' }, env: 'test' })`);

describe.each([
  ['with the addon', () => INDEX],
  ['without the addon', () => copy.index],
])('%s', (_, index) => {
  it.each([
    ['get', `keyrack.get({ for: { key: 'GIVEN' }, env: 'test' }).then(({ attempt }) => attempt.status)`, 'blocked'],
    ['getSync', `keyrack.getSync({ for: { key: 'GIVEN' }, env: 'test' }).attempt.status`, 'blocked'],
    ['source', `keyrack.source({ env: 'test', key: 'GIVEN', onFail: 'throw' })`, { code: 'blocked', name: 'KeyrackError' }],
    ['getKeyrackKeyGrant', `keyrack.getKeyrackKeyGrant({ for: { key: 'GIVEN' }, env: 'test' }, { gitroot: process.cwd() }).then(({ status }) => status)`, 'blocked'],
  ])('the token check of %s stays on', async (_name, body, expected) => {
    const options = { index: index(), env: { GIVEN: TOKEN } };
    expect((await polluted('hold({ allow: { dangerous: true }, dangerous: true });', body, options)).answer).toStrictEqual(expected);
  });

  it('options ignore members of the prototype', async () => {
    const planted = `hold({ owner: 'evil', org: 'evil', as: 'buffer', timeoutMs: 'x', key: 'OTHER', keys: ['acme.test.OTHER'], repo: true, with: { unlock: true }, prompt: 'tty', color: true, mode: 'lenient', error: { code: 'evil', message: 'evil' }, failed: [1] });`;
    const body = one(`keyrack.getSync({ for: { key: 'GIVEN' }, env: 'test' })`);
    expect((await polluted(planted, body, { index: index() })).answer).toStrictEqual({ status: 'granted', secret: 'given-s3cret' });
  });

  it('setters on the prototype receive no value', async () => {
    const planted = `trap('secret', 'secrets', 'json', 'stdout', 'attempts', 'attempt', 'grant', 'value', 'warnings', 'GIVEN');`;
    for (const body of [
      one(`keyrack.getSync({ for: { key: 'GIVEN' }, env: 'test' })`),
      `keyrack.get({ for: { key: 'GIVEN' }, env: 'test' }).then(({ attempt }) => ({ status: attempt.status, secret: attempt.grant.key.secret }))`,
    ]) {
      expect(await polluted(planted, body, { index: index() })).toStrictEqual({ answer: { status: 'granted', secret: 'given-s3cret' }, seen: '' });
    }
  });
});

describe('with the addon', () => {
  it('setters on the prototype receive no secret of the daemon', async () => {
    const planted = `trap('secret', 'secrets', 'json', 'stdout', 'attempts', 'attempt', 'grant', 'value', 'warnings', '0', '1', 'HELD', 'then');`;
    const granted = { status: 'granted', secret: 'held-s3cret' };
    expect(await polluted(planted, GRANTED)).toStrictEqual({ answer: granted, seen: '' });
    const buffer = `(() => { const { secret } = keyrack.getSync({ for: { key: 'HELD' }, env: 'test', as: 'buffer' }).attempt.grant.key; return Buffer.from(secret.bytes).toString(); })()`;
    expect(await polluted(planted, buffer)).toStrictEqual({ answer: 'held-s3cret', seen: '' });
    const sourced = `(() => { keyrack.source({ env: 'test' }); return process.env.HELD; })()`;
    expect(await polluted(planted, sourced)).toStrictEqual({ answer: 'held-s3cret', seen: '' });
    // A test runner's environment is an object like any other.
    const replaced = `Object.defineProperty(process, 'env', { __proto__: null, value: { ...process.env }, configurable: true }); ${planted}`;
    expect(await polluted(replaced, sourced)).toStrictEqual({ answer: 'held-s3cret', seen: '' });
  });

  it('a command gets no options or variables of the prototype', async () => {
    const stub = copyPackage('#!/bin/sh\nprintf \'{"planted":"%s","stdin":"%s"}\' "$PLANTED" "$(cat)"\n');
    try {
      const planted = `hold({ secret: Buffer.from('evil'), PLANTED: 'evil', shell: true, discard: true, vault: 'evil' });`;
      const { answer } = await polluted(planted, `keyrack.set({ key: 'GIVEN', env: 'test', vault: 'os.daemon' })`, { index: stub.index });
      expect(answer).toStrictEqual({ planted: '', stdin: '' });
    } finally {
      stub.remove();
    }
  });
});

describe.runIf(process.getuid() === 0)('a repository of another user', () => {
  const OTHER = 65_531;
  const repository = (name, owners) => {
    const root = join(home.base, name);
    for (const dir of ['', '.git', '.agent']) mkdirSync(join(root, dir));
    writeFileSync(join(root, '.agent/keyrack.yml'), 'org: acme\nenv.test:\n  - GIVEN\n');
    for (const [path, owner] of Object.entries(owners)) lchownSync(join(root, path), owner, owner);
    return root;
  };
  const ask = `keyrack.getSync({ for: { repo: true }, env: 'test' }).attempts.length`;

  it.each([
    ['with the addon', () => INDEX, 'repository_untrusted'],
    ['without the addon', () => copy.index, 'binding_missing'],
  ])('is refused %s', async (name, index, code) => {
    for (const [at, owners] of [{ '': OTHER }, { '.git': OTHER }, { '.agent/keyrack.yml': OTHER }].entries()) {
      const cwd = repository(`${name}-${at}`.replaceAll(' ', '-'), owners);
      // Without sudo, root accepts a repository that belongs to one user; with sudo it does not.
      const { answer } = await polluted('', ask, { index: index(), cwd, env: { SUDO_UID: '0' } });
      expect(answer).toStrictEqual({ code, name: 'KeyrackError' });
    }
  });

  it('is accepted if it is named as safe, and by root in a checkout of another user', async () => {
    const cwd = repository('accepted', { '': OTHER, '.git': OTHER, '.agent/keyrack.yml': OTHER });
    chownSync(join(cwd, '.agent'), OTHER, OTHER);
    const answer = async (env) => (await polluted('', ask, { cwd, env })).answer;
    expect(await answer({ SUDO_UID: '0' })).toStrictEqual({ code: 'repository_untrusted', name: 'KeyrackError' });
    expect(await answer({ SUDO_UID: '0', KEYRACK_SAFE_DIRECTORY: cwd })).toBe(1);
    expect(await answer({ SUDO_UID: String(OTHER) })).toBe(1);
    expect(await answer({})).toBe(1);
    const config = join(home.base, 'gitconfig');
    writeFileSync(config, `[safe]\n\tdirectory = ${cwd}\n`);
    expect(await answer({ SUDO_UID: '0', GIT_CONFIG_GLOBAL: config })).toBe(1);
    expect((await polluted('', ask, { cwd, index: copy.index })).answer).toBe(1);
  });
});
