'use strict';

const { hold, makeHome, startDaemon } = require('../helpers/home.cjs');
const keyrack = require('../../index.js');

let home;
let daemon;
beforeAll(async () => {
  home = makeHome();
  daemon = await startDaemon(home);
  await hold(home, { 'acme.test.TOKEN': 's3cret' });
  // jest gives each test file a process.env of its own: the addon must go by this one.
  Object.assign(process.env, { HOME: home.home, XDG_RUNTIME_DIR: home.runtime });
});
afterAll(async () => {
  await daemon?.stop();
  home?.remove();
});

test('reads by this process.env', () => {
  const { attempt } = keyrack.getSync({ for: { key: 'acme.test.TOKEN' } });
  expect(attempt).toStrictEqual({
    status: 'granted',
    grant: {
      slug: 'acme.test.TOKEN',
      key: { secret: 's3cret', grade: { protection: 'encrypted', duration: 'permanent' } },
      source: { vault: 'os.secure', mech: 'PERMANENT_VIA_REPLICA' },
      env: 'test',
      org: 'acme',
      expiresAt: expect.any(String),
    },
  });
  process.env.JESTS_OWN = 'of jest';
  expect(keyrack.getSync({ for: { key: 'acme.test.JESTS_OWN' } }).attempt.grant.key.secret).toBe('of jest');
});

test('hands out a secret that can be disposed of by whatever Symbol.dispose there is here', () => {
  const { attempt } = keyrack.getSync({ for: { key: 'acme.test.TOKEN' }, as: 'buffer' });
  const { secret } = attempt.grant.key;
  const dispose = Symbol.dispose ?? Object.defineProperty(Symbol, 'dispose', { value: Symbol('Symbol.dispose') }).dispose;
  keyrack.getSync({ for: { key: 'acme.test.TOKEN' }, as: 'buffer' }).attempt.grant.key.secret[dispose]();
  secret[dispose]();
  expect(secret.erased).toBe(true);
});

test('sources into this process.env', () => {
  expect(keyrack.source({ env: 'test', key: 'acme.test.TOKEN' })).toStrictEqual({ sourced: ['TOKEN'], kept: [], missing: [] });
  expect(process.env.TOKEN).toBe('s3cret');
});

test('errors and buffers are of this realm', async () => {
  const bad = { for: { key: 'acme.test.TOKEN' }, env: 'nope' };
  expect(() => keyrack.getSync(bad)).toThrow(keyrack.KeyrackError);
  await expect(keyrack.get(bad)).rejects.toBeInstanceOf(Error);
  await expect(keyrack.get(bad)).rejects.toMatchObject({ code: 'bad_env' });
  const { secret } = keyrack.getSync({ for: { key: 'acme.test.TOKEN' }, as: 'buffer' }).attempt.grant.key;
  expect(secret).toBeInstanceOf(keyrack.ErasableSecret);
  expect(secret.bytes).toBeInstanceOf(Uint8Array);
  secret.erase();
});

test('the command runs with this process.env', async () => {
  await expect(keyrack.get({ for: { key: 'acme.test.NEVER_SET' }, with: { unlock: true } })).resolves.toMatchObject({ attempt: { status: 'absent' } });
});

test('a child has what source set only if it is given this process.env', () => {
  const { execFileSync } = require('node:child_process');
  keyrack.source({ env: 'test', key: 'acme.test.TOKEN' });
  const asked = [process.execPath, ['-p', 'process.env.TOKEN'], { encoding: 'utf8' }];
  expect(execFileSync(...asked)).toBe('undefined\n');
  expect(execFileSync(asked[0], asked[1], { ...asked[2], env: process.env })).toBe('s3cret\n');
});
