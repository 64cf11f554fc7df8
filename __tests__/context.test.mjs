// The calls of today's users that carry a context, with the addon and without it.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRequire } from 'node:module';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { genContextKeyrackGrantGet, getKeyrackKeyGrant, getSync } from '../index.mjs';

const require = createRequire(import.meta.url);
const { copyPackage, hold, makeHome, runNode, startDaemon } = require('./helpers/home.cjs');

const MANIFEST = 'org: acme\nextends:\n  - shared/keyrack.yml\nenv.all:\n  - SHARED\nenv.test:\n  - TOKEN\n  - key: MAYBE\n    is-optional-if-has: STAND_IN\nenv.prod: []\n';

let home;
let daemon;
beforeAll(async () => {
  home = makeHome();
  daemon = await startDaemon(home);
  Object.assign(process.env, { HOME: home.home, XDG_RUNTIME_DIR: home.runtime });
  mkdirSync(join(home.repo, 'shared'));
  writeFileSync(join(home.repo, 'shared', 'keyrack.yml'), 'org: other\nenv.camp:\n  - BASE\n');
  home.manifest(MANIFEST);
  await hold(home, { 'acme.test.TOKEN': 's3cret', 'acme.all.SHARED': 'everywhere' });
});
afterAll(async () => {
  await daemon?.stop();
  home?.remove();
});

const spec = (slug, isOptionalIfHas = null) => {
  const [, env, name] = slug.split('.');
  return [slug, { slug, mech: null, env, name, grade: null, flags: { isOptionalIfHas } }];
};

describe('a context', () => {
  it('has the keys of keyrack.yml, in their order', async () => {
    const context = await genContextKeyrackGrantGet({ gitroot: home.repo, owner: null });
    expect(context).toStrictEqual({
      owner: null,
      gitroot: home.repo,
      repoManifest: {
        uri: join(home.repo, '.agent/keyrack.yml'),
        org: 'acme',
        envs: ['test', 'prod'],
        extends: ['shared/keyrack.yml'],
        keys: Object.fromEntries(['acme.camp.BASE', 'acme.all.SHARED', 'acme.test.SHARED', 'acme.test.TOKEN', 'acme.test.MAYBE', 'acme.prod.SHARED'].map((slug) => spec(slug, slug.endsWith('MAYBE') ? 'STAND_IN' : null))),
      },
    });
    expect(Object.keys(context.repoManifest.keys)[0]).toBe('acme.camp.BASE');
  });

  it('is the same without the addon, for the plain form of keyrack.yml', async () => {
    const copy = copyPackage();
    try {
      const code = `require(${JSON.stringify(copy.index)}).genContextKeyrackGrantGet({ gitroot: ${JSON.stringify(home.repo)}, owner: 'robot' }).then((value) => console.log(JSON.stringify(value)), (error) => console.log(JSON.stringify(error.code)))`;
      const ask = async () => JSON.parse((await runNode(code, { cwd: '/', env: home.env })).stdout);
      const context = await genContextKeyrackGrantGet({ gitroot: home.repo, owner: 'robot' });
      const bare = await ask();
      expect(bare).toStrictEqual(context);
      expect(Object.keys(bare.repoManifest.keys)).toStrictEqual(Object.keys(context.repoManifest.keys));
      home.manifest('org: acme\nenv.test: [A]\n');
      expect(await ask()).toBe('binding_missing');
    } finally {
      home.manifest(MANIFEST);
      copy.remove();
    }
  });

  it('works without a repository', async () => {
    expect(await genContextKeyrackGrantGet({ gitroot: null, owner: 'robot' })).toStrictEqual({ owner: 'robot', gitroot: null, repoManifest: null });
    expect((await genContextKeyrackGrantGet({ gitroot: home.base, owner: null })).repoManifest).toBeNull();
    home.manifest('org: [');
    await expect(genContextKeyrackGrantGet({ gitroot: home.repo, owner: null })).rejects.toMatchObject({ code: 'manifest_invalid' });
    home.manifest(MANIFEST);
    await expect(genContextKeyrackGrantGet({ gitroot: 1, owner: null })).rejects.toThrow('genContextKeyrackGrantGet: gitroot must be a string, not number');
  });
});

describe('getKeyrackKeyGrant', () => {
  it('reads one key, in any working directory', async () => {
    expect(process.cwd()).not.toBe(home.repo);
    const context = await genContextKeyrackGrantGet({ gitroot: home.repo, owner: null });
    const attempt = await getKeyrackKeyGrant({ for: { key: 'acme.test.TOKEN' } }, context);
    expect(attempt).toStrictEqual(getSync({ for: { key: 'acme.test.TOKEN' } }).attempt);
    expect(Object.getPrototypeOf(attempt.grant)).toBe(Object.prototype);
    expect(await getKeyrackKeyGrant({ for: { key: 'TOKEN' }, env: 'test' }, context)).toStrictEqual(attempt);
    await expect(getKeyrackKeyGrant({ for: { key: 'other.test.K' } }, context)).rejects.toMatchObject({ code: 'org_mismatch' });
    const none = await genContextKeyrackGrantGet({ gitroot: null, owner: null });
    expect(await getKeyrackKeyGrant({ for: { key: 'acme.test.TOKEN' } }, none)).toStrictEqual(attempt);
    await expect(getKeyrackKeyGrant({ for: { key: 'TOKEN' }, env: 'test' }, none)).rejects.toMatchObject({ code: 'no_manifest' });
  });

  it('reads several keys, in the order of their slugs', async () => {
    const context = await genContextKeyrackGrantGet({ gitroot: home.repo, owner: null });
    process.env.STAND_IN = '1';
    process.env.LONG = 'ghp_x';
    const slugs = ['acme.test.MAYBE', 'acme.test.TOKEN', 'acme.prod.SHARED', 'acme.test.LONG'];
    const attempts = await getKeyrackKeyGrant({ for: { repo: true }, env: 'test', slugs }, context);
    expect(attempts.map(({ status, slug, grant, waived }) => [slug ?? grant.slug, status, waived])).toStrictEqual([
      ['acme.test.MAYBE', 'absent', true],
      ['acme.test.TOKEN', 'granted', undefined],
      ['acme.all.SHARED', 'granted', undefined],
      ['acme.test.LONG', 'blocked', undefined],
    ]);
    const [, , , long] = await getKeyrackKeyGrant({ for: { repo: true }, slugs, allow: { dangerous: true } }, context);
    expect(long.status).toBe('granted');
    delete process.env.LONG;
    delete process.env.STAND_IN;
    expect(await getKeyrackKeyGrant({ for: { repo: true }, slugs: [] }, context)).toStrictEqual([]);
    for (const [input, words] of [
      [{ for: { repo: true } }, 'slugs must be an array of slugs'],
      [{ for: {}, slugs: [] }, 'for must be { key } or { repo: true }'],
      [{ for: { repo: true }, slugs: [1] }, 'slugs[0] must be a string, not number'],
    ]) await expect(getKeyrackKeyGrant(input, context)).rejects.toThrow(words);
    await expect(getKeyrackKeyGrant({ for: { key: 'K' } })).rejects.toThrow(TypeError);
  });
});
