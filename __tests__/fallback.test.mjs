// The package without its native part: it loads everywhere, answers what the environment has, and
// says what is missing for the rest.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRequire } from 'node:module';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

const require = createRequire(import.meta.url);
const { copyPackage, makeHome, runNode } = require('./helpers/home.cjs');
const { parse } = require('../lib/manifest_fallback.js');
const { LONG_LIVED, reasons } = require('../lib/token_check.js');

const MANIFEST = 'org: acme # ours\nenv.all:\n  - SHARED\nenv.test:\n  - TOKEN\n  - key: OPTIONAL\n    is-optional-if-has: OTHER\n  - "GRADED": encrypted\n';

let copy;
let home;
let entry;
beforeAll(() => {
  copy = copyPackage();
  home = makeHome();
  home.manifest(MANIFEST);
  entry = JSON.stringify(copy.index);
});
afterAll(() => {
  copy?.remove();
  home?.remove();
});

async function js(code, env = {}) {
  const { stdout, stderr } = await runNode(`const k = require(${entry}); const said = (call) => { try { return call() } catch (error) { return [error.code, error.fix ?? null] } }; console.log(JSON.stringify(${code}))`, { cwd: home.repo, env: { ...home.env, ...env } });
  expect(stderr).toBe('');
  return JSON.parse(stdout);
}

describe('without the addon, on a supported platform', () => {
  it('get returns values of the environment', async () => {
    expect(await js("k.getSync({ for: { key: 'acme.test.TOKEN' } }).attempt", { TOKEN: 'v' })).toStrictEqual({
      status: 'granted',
      grant: { slug: 'acme.test.TOKEN', key: { secret: 'v', grade: { protection: 'plaintext', duration: 'permanent' } }, source: { vault: 'os.envvar', mech: 'PERMANENT_VIA_REPLICA' }, env: 'test', org: 'acme' },
    });
    const all = { SHARED: 's', TOKEN: 't', OPTIONAL: 'o', GRADED: 'g' };
    expect(await js("k.getSync({ for: { repo: true }, env: 'test' }).attempts.map((each) => each.grant.slug + '=' + each.grant.key.secret)", all)).toStrictEqual(['acme.test.SHARED=s', 'acme.test.TOKEN=t', 'acme.test.OPTIONAL=o', 'acme.test.GRADED=g']);
  });

  it("env all returns every key of every env, as with the addon", async () => {
    const { getSync, source } = require('../index.js');
    require('../lib/binding.js').binding();
    home.manifest('org: acme\nenv.all:\n  - SHARED\nenv.test:\n  - TOKEN\nenv.prod:\n  - TOKEN\n  - OTHER\n');
    const before = process.cwd();
    const saved = { ...process.env };
    const values = { SHARED: 's', TOKEN: 't', OTHER: 'o' };
    Object.assign(process.env, { HOME: home.home, XDG_RUNTIME_DIR: home.runtime }, values);
    process.chdir(home.repo);
    try {
      for (const env of ['all', 'test', 'prod']) {
        expect(await js(`k.getSync({ for: { repo: true }, env: '${env}' })`, values)).toStrictEqual(getSync({ for: { repo: true }, env }));
        expect(await js(`k.source({ env: '${env}' })`, values)).toStrictEqual(source({ env }));
      }
      delete process.env.OTHER;
      const { OTHER, ...some } = values;
      expect(await js("k.source({ env: 'all', mode: 'lenient' })", some)).toStrictEqual(source({ env: 'all', mode: 'lenient' }));
    } finally {
      process.chdir(before);
      for (const name of Object.keys(process.env)) if (!(name in saved)) delete process.env[name];
      Object.assign(process.env, saved);
      home.manifest(MANIFEST);
    }
  });

  it('source keeps values of the environment', async () => {
    const some = { SHARED: 's', TOKEN: 't', GRADED: 'g' };
    expect(await js("said(() => k.source({ env: 'test', onFail: 'throw' }))", { ...some, OTHER: '1' })).toStrictEqual({ sourced: [], kept: ['SHARED', 'TOKEN', 'GRADED'], missing: ['OPTIONAL'] });
    expect(await js("said(() => k.source({ env: 'test', onFail: 'throw' }))", some)).toStrictEqual(['binding_missing', 'npm run build']);
    expect(await js("said(() => k.source({ env: 'test', mode: 'lenient' }))", { TOKEN: 't' })).toStrictEqual({ sourced: [], kept: ['TOKEN'], missing: ['SHARED', 'OPTIONAL', 'GRADED'] });
    expect(await js("said(() => k.source({ env: 'test', onFail: 'throw' }))", { ...some, OPTIONAL: 'o', TOKEN: 'ghp_x' })).toStrictEqual(['blocked', 'npx keyrack get --env test --key TOKEN --allow-dangerous']);
  });

  it('a fix is the same command as with the addon', async () => {
    const { getSync } = require('../index.js');
    require('../lib/binding.js').binding();
    const saved = { HOME: process.env.HOME, XDG_RUNTIME_DIR: process.env.XDG_RUNTIME_DIR };
    Object.assign(process.env, { HOME: home.home, XDG_RUNTIME_DIR: home.runtime, TOKEN: 'ghp_x' });
    const rest = '--allow-dangerous';
    for (const [input, words, outside = words] of [
      [{ for: { key: '@all.test.TOKEN' } }, '--org @all --env test --key TOKEN'],
      [{ for: { key: 'TOKEN' }, org: '@all', env: 'prod' }, '--org @all --env prod --key TOKEN'],
      // Outside of its repository, where the addon is asked here, by the full slug.
      [{ for: { key: 'acme.test.TOKEN' } }, '--env test --key TOKEN', '--env test --key acme.test.TOKEN'],
      [{ for: { key: '@all.test.TOKEN' }, owner: 'robot' }, '--owner robot --org @all --env test --key TOKEN'],
      [{ for: { key: 'acme.test.TOKEN' }, owner: 'default' }, '--env test --key TOKEN', '--env test --key acme.test.TOKEN'],
    ]) {
      const expected = `npx keyrack get ${words} ${rest}`;
      expect([input, getSync(input).attempt.fix]).toStrictEqual([input, `npx keyrack get ${outside} ${rest}`]);
      expect([input, await js(`k.getSync(${JSON.stringify(input)}).attempt.fix`, { TOKEN: 'ghp_x' })]).toStrictEqual([input, expected]);
    }
    delete process.env.TOKEN;
    for (const [name, value] of Object.entries(saved)) value === undefined ? delete process.env[name] : (process.env[name] = value);
    // Text that a shell would act on is not a key, and nothing may turn it into a command either.
    expect(await js("k.getSync({ for: { key: \"acme.test.A;b'c\" } }).attempt.fix", { "A;b'c": 'ghp_x' })).toBe("npx keyrack get --env test --key 'A;b'\\''c' --allow-dangerous");
  });

  it('everything else fails with binding_missing and a fix', async () => {
    for (const call of ["k.getSync({ for: { key: 'acme.test.NOPE' } })", "k.getSync({ for: { key: 'acme.sudo.TOKEN' } })", 'k.status()', 'k.relock()', "k.source({ env: 'prod' })"]) {
      expect(await js(`said(() => ${call})`, { TOKEN: 'v' })).toStrictEqual(['binding_missing', 'npm run build']);
    }
  });

  it('blocks a value that a mechanism makes keys from', async () => {
    const blob = '{"a":1,"mech":"EPHEMERAL_VIA_GITHUB_APP"}';
    expect(await js("k.getSync({ for: { key: 'acme.test.TOKEN' }, allow: { dangerous: true } }).attempt.status", { TOKEN: blob })).toBe('blocked');
  });

  it('an addon of another version is rejected', async () => {
    const native = join(copy.base, 'npm', require('../lib/platform.js').platformName(), 'keyrack.node');
    writeFileSync(native, 'no addon');
    expect(await js('said(() => k.status())')).toStrictEqual(['binding_missing', 'npm run build']);
  });
});

describe('without the addon, on another platform', () => {
  it('loads, returns values of the environment, and names the platform in errors', async () => {
    const code = `
      Object.defineProperty(process, 'platform', { value: 'darwin' });
      const k = require(${entry});
      const seen = [k.getSync({ for: { key: 'acme.test.TOKEN' } }).attempt.status];
      for (const call of [() => k.status(), () => k.getSync({ for: { key: 'acme.test.NOPE' } })]) try { call() } catch (error) { seen.push(error.code, /darwin/.test(error.message)) }
      k.unlock().catch((error) => { seen.push(error.code); console.log(JSON.stringify(seen)) })`;
    const { stdout } = await runNode(code, { cwd: home.repo, env: { ...home.env, TOKEN: 'v' } });
    expect(JSON.parse(stdout)).toStrictEqual(['granted', 'unsupported_platform', true, 'unsupported_platform', true, 'unsupported_platform']);
  });
});

describe('the fallback reader of keyrack.yml', () => {
  it('reads the form that keyrack writes', () => {
    const { org, extends: files, envs } = parse("org: 'acme'\nextends:\n  - .agent/other.yml\n\n# none yet\nenv.prod: []\nenv.test:\n  - A # one\n  - B: ephemeral\n  - key: C\n    grade: encrypted\n    is-optional-if-has: D\n");
    expect([org, files]).toStrictEqual(['acme', ['.agent/other.yml']]);
    expect([...envs]).toStrictEqual([['prod', []], ['test', [{ name: 'A' }, { name: 'B', grade: 'ephemeral' }, { name: 'C', grade: 'encrypted', optionalIfHas: 'D' }]]]);
  });

  it.each(['env.test:\n  - A\n', 'org: a\nenv.test: { A: 1 }\n', 'org: a\nenv.test: [A]\n', 'org: a\nenv.test:\n  - &x A\n', 'org: a\nenv.test:\n  - {key: A}\n', 'org: a\nother: 1\n', 'org: a\nenv.test:\n  - key: A\n    unknown: b\n', 'org: a\nenv.test:\n  - A.\n', 'org: a\nenv.test:\n  - A..B\n', 'org: a\nenv.test:\n  - 1A\n', 'org: a\nenv.test:\n  - A;B\n', `org: a\nenv.test:\n  - ${'A'.repeat(256)}\n`, 'org: a\nenv.test:\n  - A: B: c\n', 'org: a\nenv.test:\n  - key: A\n    grade: "{}"\n', 'org: a\nenv.sudo:\n  - A\n', 'org: a\nenv.dev:\n  - A\n', 'org: a\nenv.all:\n  - A\n', 'org: a\nenv.test: []\nenv.test:\n  - A\n', 'org: "@all"\nenv.test:\n  - A\n', 'org: a.b\nenv.test:\n  - A\n'])('gives up at %j', (text) => {
    expect(parse(text)).toBeNull();
  });
});

describe('the fallback reader and the addon', () => {
  it('return the same for every manifest that the fallback reads', () => {
    const addon = require('../lib/binding.js').binding();
    const { manifestOf } = require('../lib/manifest_fallback.js');
    const { callContext } = require('../lib/call_context.js');
    // A small generator of its own, so that a failure can be repeated (xorshift32).
    let state = 20261123;
    const below = (count) => {
      for (const shift of [13, -17, 5]) state ^= shift > 0 ? state << shift : state >>> -shift;
      return (state >>> 0) % count;
    };
    const pick = (list) => list[below(list.length)];
    const name = () => (below(3) > 0 ? pick(['A', 'B', 'C', 'a.b', 'A-1', '_x']) : pick(['"Q"', "'S'", 'A B', '1A', 'A.', 'NO', 'null', '~', 'A#b', 'é', '- A', '"A', '&A', '*A', '{A: b}', '[A]', '|', 'key', '@A', '%A', '!A', '`A`', 'A:b', '? A', '"A\\n"', '007']));
    const comment = () => pick(['', '', '', ' # why', '   ', '#tight']);
    const entry = () => pick([() => `  - ${name()}`, () => `  - ${name()}`, () => `  - ${name()}`, () => `- ${name()}`, () => `  - ${name()}: `, () => `  - key: ${name()}`, () => `  - key: ${name()}\n    is-optional-if-has: ${name()}`, () => `    is-optional-if-has: ${name()}`, () => `  # ${name()}`, () => '', () => `   - ${name()}`, () => `\t- ${name()}`])() + comment();
    const section = () => (below(3) > 0 ? pick(['env.test', 'env.prod', 'env.all', 'env.camp']) : pick(['env.test', 'env.prod', 'env.all', 'env.camp', 'env.prep', 'env.sudo', 'env.dev', 'extends', 'org', 'other']));
    const top = () => pick([() => `${section()}:`, () => `${section()}:`, () => `${section()}:`, () => `${section()}:`, () => `${section()}: []`, () => `${section()}: []`, () => `${section()}: null`, () => `${section()}: ~`, () => `${section()}: ${name()}`, () => '---', () => '...'])() + comment();
    let read = 0;
    for (let round = 0; round < 1500; round += 1) {
      const lines = [`org: ${pick(['acme', 'acme', 'acme', '"acme"', 'a b', '@all', 'a.b', '007', 'true', '-x', ''])}${comment()}`];
      for (let sections = below(4); sections > 0; sections -= 1) {
        lines.push(top());
        for (let entries = below(3); entries > 0; entries -= 1) lines.push(entry());
      }
      const text = `${lines.join(pick(['\n', '\n', '\r\n']))}\n`;
      home.manifest(text);
      let plain;
      try {
        plain = manifestOf(home.repo, () => {
          throw new RangeError('given up');
        });
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        continue;
      }
      read += 1;
      expect([text, plain]).toStrictEqual([text, JSON.parse(addon.manifest(callContext(undefined, 1000, home.repo).text, 1000))]);
    }
    home.manifest(MANIFEST);
    expect(read).toBeGreaterThan(100);
  });
});

describe('the token check of the fallback and of the addon', () => {
  it('blocks the same values', async () => {
    const { getSync } = require('../index.js');
    // Without the addon this would hold the JavaScript rules to themselves.
    require('../lib/binding.js').binding();
    const { HOME, XDG_RUNTIME_DIR } = process.env;
    Object.assign(process.env, { HOME: home.home, XDG_RUNTIME_DIR: home.runtime });
    const unseen = ['\u200b', '\ufeff', '\u2060', '\u00ad', '\u0085', '\u2028', '\u180e', '\u034f', '\u0605', '\u061c', '\u206f', '\u3164', '\ufe0f', '\ufff0', '\ufffb', '\u{13430}', '\u{1343f}', '\u{e0041}', '\u{e0fff}', ' \u200d\n\u200b', '\u0301', '\ufffc', '\u2010'];
    const base64 = (text) => Buffer.from(text).toString('base64');
    const body = 'A1B2C3D4E5'.repeat(6);
    const inside = LONG_LIVED.flatMap(([prefix, least]) => {
      const token = `${prefix}${body.slice(0, least)}`;
      const json = JSON.stringify({ a: [{ token }] });
      return [token, `x${token}`, `Bearer ${token}`, `https://x:${token}@example.com`, json, JSON.stringify({ json }), encodeURIComponent(json), `Basic ${base64(`x:${token}`)}`, base64(json).replace(/.{76}/g, '$&\n'), JSON.stringify(`a\n${token}`), `x ${prefix}${body.slice(0, least - 1)}`];
    });
    const others = ['ghs_16C7e42F292c6912E7710c838347Ae178B4a', '{"AccessKeyId":"ASIAIOSFODNN7EXAMPLE","SessionToken":"AKIA/AKIA"}', 'npm_config_registry=https://registry.npmjs.org/', 'x AKIAIOSFODNN7EXAMPLES', 'x \\u0067hp_12345678', 'x \\u2028ghp_12345678', 'x %67hp_12345678', 'x \\\\nghp_12345678', `${'A'.repeat(48)}\n${base64('x:ghp_12345678')}`];
    const values = [...LONG_LIVED.flatMap(([prefix]) => [`${prefix}x`, ` \n${prefix}x`, `x${prefix}`]), ...inside, ...others, ...unseen.flatMap((lead) => [lead, `${lead}ghp_x`, `x${lead}ghp_x`, `x${lead}ghp_12345678`, `${lead}{"mech":"X"}`]), 'ghs_x', 'plain', ' ', '{"mech":"X"}', '\ufeff {"a":{"mech":1},"mech":"X"}', '{"me\\u0063h":"X"}', 'ASIAx'];
    for (const value of values) {
      process.env.FIREWALL_PROBE = value;
      const attempt = getSync({ for: { key: 'acme.test.FIREWALL_PROBE' } }).attempt;
      const ours = reasons('FIREWALL_PROBE', value, false);
      expect([value, ours.length > 0]).toStrictEqual([value, attempt.status === 'blocked']);
      if (ours.length === 2) expect([value, attempt.reasons]).toStrictEqual([value, ours]);
    }
    delete process.env.FIREWALL_PROBE;
    Object.assign(process.env, { HOME, XDG_RUNTIME_DIR: XDG_RUNTIME_DIR ?? '' });
    if (XDG_RUNTIME_DIR === undefined) delete process.env.XDG_RUNTIME_DIR;
  });
});
