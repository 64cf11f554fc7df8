// Reading keys, in whatever realm the test runner puts us: forks, threads and vm contexts. What
// counts is this realm's process.env.

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createRequire } from 'node:module';
import * as keyrack from '../index.mjs';

const require = createRequire(import.meta.url);
const { hold, makeHome, startDaemon } = require('./helpers/home.cjs');
const { ErasableSecret, KeyrackError, get, getSync, relock, source, status } = keyrack;

let home;
let daemon;
beforeAll(async () => {
  home = makeHome();
  daemon = await startDaemon(home);
  Object.assign(process.env, { HOME: home.home, XDG_RUNTIME_DIR: home.runtime });
});
afterAll(async () => {
  await daemon?.stop();
  home?.remove();
});
beforeEach(async () => {
  relock();
  await hold(home, { 'acme.test.TOKEN': 's3cret ü', 'acme.all.SHARED': 'everywhere', '@all.test.BOX': 'box' });
});

describe('get', () => {
  it('returns an unlocked key in the shape of rhachet', async () => {
    const answer = getSync({ for: { key: 'acme.test.TOKEN' } });
    expect(answer).toStrictEqual({
      attempt: {
        status: 'granted',
        grant: {
          slug: 'acme.test.TOKEN',
          key: { secret: 's3cret ü', grade: { protection: 'encrypted', duration: 'permanent' } },
          source: { vault: 'os.secure', mech: 'PERMANENT_VIA_REPLICA' },
          env: 'test',
          org: 'acme',
          expiresAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
        },
      },
      emit: { stdout: expect.stringContaining('acme.test.TOKEN') },
    });
    expect(answer.emit.stdout).not.toContain('s3cret');
    expect(answer.emit.stdout).not.toContain('\u001b');
    expect(await get({ for: { key: 'acme.test.TOKEN' } })).toStrictEqual(answer);
  });

  it('returns the vault and mechanism of a key', () => {
    const { attempt } = getSync({ for: { key: 'acme.test.SHARED' } });
    expect(attempt.grant).toMatchObject({ slug: 'acme.all.SHARED', env: 'all', key: { secret: 'everywhere' } });
    expect(getSync({ for: { key: 'BOX' }, org: '@all', env: 'test' }).attempt.grant.slug).toBe('@all.test.BOX');
  });

  it('ignores variables that process.env inherits', () => {
    for (const name of ['constructor', '__proto__', 'toString', 'hasOwnProperty']) {
      expect(getSync({ for: { key: `acme.test.${name}` } }).attempt).toMatchObject({ status: 'absent', slug: `acme.test.${name}` });
    }
    expect(() => source({ env: 'test', key: 'acme.test.constructor', mode: 'lenient' })).not.toThrow();
  });

  it("falls back to the environment of this realm", () => {
    process.env.AMBIENT_KEY = 'from the realm';
    const { attempt } = getSync({ for: { key: 'acme.test.AMBIENT_KEY' } });
    expect(attempt.grant).toStrictEqual({
      slug: 'acme.test.AMBIENT_KEY',
      key: { secret: 'from the realm', grade: { protection: 'plaintext', duration: 'permanent' } },
      source: { vault: 'os.envvar', mech: 'PERMANENT_VIA_REPLICA' },
      env: 'test',
      org: 'acme',
    });
    delete process.env.AMBIENT_KEY;
    expect(getSync({ for: { key: 'acme.test.AMBIENT_KEY' } }).attempt.status).toBe('absent');
  });

  it('prefers the daemon to the environment', () => {
    process.env.TOKEN = 'stale';
    expect(getSync({ for: { key: 'acme.test.TOKEN' } }).attempt.grant.key.secret).toBe('s3cret ü');
    delete process.env.TOKEN;
  });

  it('never takes a sudo key, a blob or a long-lived token from the environment', () => {
    process.env.HOT = 'value';
    expect(getSync({ for: { key: 'acme.sudo.HOT' } }).attempt.status).toBe('absent');
    process.env.HOT = '{"mech":"EPHEMERAL_VIA_GITHUB_APP","privateKey":"pem"}';
    expect(getSync({ for: { key: 'acme.test.HOT' } }).attempt.status).toBe('blocked');
    process.env.HOT = 'ghp_0123456789';
    const { attempt, emit } = getSync({ for: { key: 'acme.test.HOT' } });
    expect(attempt).toMatchObject({ status: 'blocked', slug: 'acme.test.HOT', reasons: expect.any(Array), fix: expect.any(String) });
    expect(JSON.stringify(attempt) + emit.stdout).not.toContain('0123456789');
    expect(getSync({ for: { key: 'acme.test.HOT' }, allow: { dangerous: true } }).attempt.grant.key.secret).toBe('ghp_0123456789');
    delete process.env.HOT;
  });

  it('returns a fix for an absent key', () => {
    expect(getSync({ for: { key: 'acme.test.NOPE' } }).attempt).toStrictEqual({
      status: 'absent',
      slug: 'acme.test.NOPE',
      message: expect.stringContaining('acme.test.NOPE'),
      fix: expect.stringMatching(/^npx keyrack set .*NOPE.*--vault/),
    });
    process.env.KEYRACK_INVOKED_AS = 'rhx keyrack';
    expect(getSync({ for: { key: 'acme.test.NOPE' } }).attempt.fix).toMatch(/^rhx keyrack set /);
    process.env.KEYRACK_INVOKED_AS = 'rm -rf /; keyrack';
    expect(getSync({ for: { key: 'acme.test.NOPE' } }).attempt.fix).toMatch(/^npx keyrack set /);
    delete process.env.KEYRACK_INVOKED_AS;
  });

  it('colors the tree only with color: true', () => {
    const tree = (color) => getSync({ for: { key: 'acme.test.NOPE' }, color }).emit.stdout;
    expect(tree(true)).toContain('\u001b[');
    expect(tree(false)).not.toContain('\u001b');
  });

  it('returns an erasable secret', () => {
    const { attempt } = getSync({ for: { key: 'acme.test.TOKEN' }, as: 'buffer' });
    const { secret } = attempt.grant.key;
    expect(secret).toBeInstanceOf(ErasableSecret);
    expect(secret.bytes).toBeInstanceOf(Uint8Array);
    expect(new TextDecoder().decode(secret.bytes)).toBe('s3cret ü');
    for (const shown of [String(secret), JSON.stringify(attempt), `${secret}`]) expect(shown).not.toContain('s3cret');
    const view = secret.bytes;
    secret.erase();
    expect([...view]).toStrictEqual(Array(view.length).fill(0));
    expect(secret.erased).toBe(true);
    expect(secret.bytes.length).toBe(0);
    secret.erase();
    // A vm context of node 20 has no such symbol.
    if (Symbol.dispose) expect(secret[Symbol.dispose]).toBe(secret.erase);
  });

  it('returns an erasable secret from the environment', () => {
    process.env.AMBIENT_KEY = 'ambient';
    const { secret } = getSync({ for: { key: 'acme.test.AMBIENT_KEY' }, as: 'buffer' }).attempt.grant.key;
    expect(Buffer.from(secret.bytes).toString()).toBe('ambient');
    delete process.env.AMBIENT_KEY;
  });
});

describe('errors', () => {
  it('are of this realm and carry their code', () => {
    let error;
    try {
      getSync({ for: { key: 'acme.nope.TOKEN' }, env: 'prod', org: '@@' });
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(KeyrackError);
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ name: 'KeyrackError', code: expect.stringMatching(/^[a-z_]+$/), exit: 2, metadata: expect.any(Object) });
    expect(error.stack).toContain('realm.test.mjs');
  });

  it.each([
    [{ for: { key: 'acme.test.TOKEN' }, env: 'nope' }, 'bad_env'],
    [{ for: { key: 'acme.test.TOKEN' }, owner: 'Not An Owner' }, 'bad_owner'],
    [{ for: { key: 'acme.test.TOKEN' }, env: 'prod' }, 'env_conflict'],
  ])('%j is %s', (input, code) => {
    expect(() => getSync(input)).toThrow(expect.objectContaining({ code, exit: 2 }));
    return expect(get(input)).rejects.toMatchObject({ code, exit: 2 });
  });

  it.each([
    [undefined, /the argument/],
    [null, /the argument/],
    ['acme.test.TOKEN', /the argument/],
    [{}, /for/],
    [{ for: 'acme.test.TOKEN' }, /for/],
    [{ for: {} }, /for/],
    [{ for: { key: 1 } }, /for\.key/],
    [{ for: { key: '' } }, /for\.key/],
    [{ for: { key: 'a\0b' } }, /for\.key/],
    [{ for: { key: 'K', repo: true } }, /for/],
    [{ for: { repo: 'yes' } }, /for\.repo/],
    [{ for: { key: 'K' }, env: 1 }, /env/],
    [{ for: { key: 'K' }, org: {} }, /org/],
    [{ for: { key: 'K' }, owner: 7 }, /owner/],
    [{ for: { key: 'K' }, as: 'bytes' }, /as/],
    [{ for: { key: 'K' }, allow: true }, /allow/],
    [{ for: { key: 'K' }, allow: { dangerous: 'yes' } }, /allow\.dangerous/],
    [{ for: { key: 'K' }, timeoutMs: '5' }, /timeoutMs/],
    [{ for: { key: 'K' }, timeoutMs: 0 }, /timeoutMs/],
    [{ for: { key: 'K' }, timeoutMs: Number.NaN }, /timeoutMs/],
    [{ for: { key: 'K' }, enV: 'test' }, /enV/],
    [{ for: { key: 'K' }, color: 1 }, /color/],
  ])('%j is a TypeError that names the argument', async (input, named) => {
    for (const call of [() => getSync(input), () => get(input)]) {
      const error = await (async () => call())().catch((thrown) => thrown);
      expect(error).toBeInstanceOf(TypeError);
      expect(error.message).toMatch(named);
    }
  });
});

describe('status and relock', () => {
  it('list and erase keys', () => {
    const held = status();
    expect(held).toMatchObject({ owner: null, socketPath: home.socket, legacy: false, otherSessions: [], daemon: { pid: daemon.pid, boundary: expect.stringMatching(/^(session|user)$/), memory: expect.any(String) } });
    expect(held.keys.map((key) => key.slug)).toStrictEqual(['acme.test.TOKEN', 'acme.all.SHARED', '@all.test.BOX']);
    expect(held.keys[0]).toStrictEqual({
      slug: 'acme.test.TOKEN',
      env: 'test',
      org: 'acme',
      grade: { protection: 'encrypted', duration: 'permanent' },
      source: { vault: 'os.secure', mech: 'PERMANENT_VIA_REPLICA' },
      expiresAt: expect.any(String),
      ttlLeftMs: expect.any(Number),
      // The ten minutes that `hold` asks for.
      lifeMs: expect.closeTo(600_000, -4),
    });
    expect(held.keys[0].ttlLeftMs).toBeGreaterThan(500_000);
    expect(JSON.stringify(held)).not.toContain('s3cret');
    expect(status({ env: 'all' }).keys.map((key) => key.slug)).toStrictEqual(['acme.all.SHARED']);
    expect(relock({ key: 'acme.test.TOKEN' })).toStrictEqual({ relocked: ['acme.test.TOKEN'] });
    expect(relock({ key: 'acme.test.TOKEN' })).toStrictEqual({ relocked: [] });
    expect(relock({ env: 'test' })).toStrictEqual({ relocked: ['@all.test.BOX'] });
    expect(relock()).toStrictEqual({ relocked: ['acme.all.SHARED'] });
    expect(status().keys).toStrictEqual([]);
  });

  it('return null and an empty list without a daemon', () => {
    expect(status({ owner: 'nobody' })).toBeNull();
    expect(relock({ owner: 'nobody' })).toStrictEqual({ relocked: [] });
    expect(() => relock({ env: 'nope' })).toThrow(expect.objectContaining({ code: 'bad_env' }));
    expect(() => relock({ key: 'TOKEN' })).toThrow(expect.objectContaining({ code: 'bad_slug' }));
  });
});

describe('source', () => {
  it("sets variables of this realm's environment", () => {
    expect(source({ env: 'test', key: 'acme.test.TOKEN' })).toStrictEqual({ sourced: ['TOKEN'], kept: [], missing: [] });
    expect(process.env.TOKEN).toBe('s3cret ü');
    delete process.env.TOKEN;
  });

  it('throws instead of exiting in a test runner', () => {
    expect(() => source({ env: 'test', key: 'acme.test.NOPE' })).toThrow(expect.objectContaining({ code: 'absent', exit: 2 }));
    expect(() => source({ env: 'test', key: 'acme.test.NOPE' })).toThrow(KeyrackError);
  });

  it('throws with the fix in the message, for test runners', () => {
    const wayOut = 'npx keyrack set --env test --key NOPE --vault os.secure --mech PERMANENT_VIA_REPLICA';
    const thrown = expect.objectContaining({ fix: wayOut, message: expect.stringMatching(new RegExp(`acme\\.test\\.NOPE.*; run: ${wayOut}$`)) });
    expect(() => source({ env: 'test', key: 'acme.test.NOPE' })).toThrow(thrown);
  });
});
