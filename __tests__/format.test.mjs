// The trees drawn in JavaScript are those of the command and the addon, letter by letter, and need
// neither.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRequire } from 'node:module';
import * as keyrack from '../index.mjs';

const require = createRequire(import.meta.url);
const { bin, copyPackage, hold, makeHome, run, runNode, startDaemon } = require('./helpers/home.cjs');
const { formatKeyrackGetAllOutput, formatKeyrackGetOneOutput, formatKeyrackKeyBranch, getSync, source } = keyrack;

let home;
let daemon;
beforeAll(async () => {
  home = makeHome();
  daemon = await startDaemon(home);
  Object.assign(process.env, { HOME: home.home, XDG_RUNTIME_DIR: home.runtime, STAND_IN: '1', AMBIENT: 'v', LONG: 'ghp_x', BLOB: '{"mech":"EPHEMERAL_VIA_GITHUB_APP"}', WEAK: 'v' });
  home.manifest('org: acme\nenv.test:\n  - HELD\n  - NEVER\n  - AMBIENT\n  - LONG\n  - BLOB\n  - WEAK: encrypted\n  - key: MAYBE\n    is-optional-if-has: STAND_IN\nenv.prep: []\n');
  process.chdir(home.repo);
  await hold(home, { 'acme.test.HELD': 's3cret' });
});
afterAll(async () => {
  process.chdir('/');
  await daemon?.stop();
  home?.remove();
});

describe('the rendered tree', () => {
  /** Tree that the command prints for the same read. */
  const printed = async (args, env = {}) => {
    const options = { cwd: home.repo, env: { ...process.env, KEYRACK_INVOKED_AS: 'npx keyrack', ...env } };
    return (await run(bin('keyrack'), ['get', ...args], options)).stdout;
  };

  it('of a repository equals emit.stdout and that of the command', async () => {
    const { attempts, emit } = getSync({ for: { repo: true }, env: 'test' });
    expect(attempts.map(({ status, note, waived }) => [status, note !== undefined, waived === true])).toStrictEqual([
      ['granted', false, false],
      ['absent', false, false],
      ['granted', false, false],
      ['blocked', true, false],
      ['blocked', true, false],
      ['granted', true, false],
      ['absent', true, true],
    ]);
    expect(formatKeyrackGetAllOutput({ attempts })).toBe(emit.stdout);
    expect(await printed(['--for', 'repo', '--env', 'test'])).toBe(emit.stdout);
    expect(emit.stdout).not.toMatch(/s3cret|\x1b/);
    const none = getSync({ for: { repo: true }, env: 'prep' });
    expect(formatKeyrackGetAllOutput(none)).toBe(none.emit.stdout);
    expect(none.emit.stdout).toContain('(no keys)');
  });

  it('of one key equals emit.stdout and that of the command', async () => {
    for (const key of ['HELD', 'NEVER', 'AMBIENT', 'LONG', 'BLOB', 'WEAK', 'MAYBE', '@all.sudo.ROOT']) {
      const { attempt, emit } = getSync({ for: { key }, ...(key.startsWith('@') ? {} : { env: 'test' }) });
      expect(formatKeyrackGetOneOutput({ attempt })).toBe(emit.stdout);
      expect(await printed(key.startsWith('@') ? ['--key', key] : ['--key', key, '--env', 'test'])).toBe(emit.stdout);
      const lines = formatKeyrackKeyBranch({ entry: attempt, isLast: true });
      expect(['', '🔐 keyrack', ...lines, '', ''].join('\n')).toBe(emit.stdout);
      expect(formatKeyrackKeyBranch({ entry: attempt, isLast: false })[0]).toBe(lines[0].replace('└', '├'));
    }
  });

  it('is rendered when it is read, and shows neither the secret nor what the caller changed since', () => {
    const answer = getSync({ for: { repo: true }, env: 'test' });
    const before = getSync({ for: { repo: true }, env: 'test' }).emit.stdout;
    for (const attempt of answer.attempts) attempt.status = 'changed';
    expect(Object.getOwnPropertyDescriptor(answer.emit, 'stdout')).toMatchObject({ enumerable: true, configurable: true, get: expect.any(Function) });
    expect(JSON.parse(JSON.stringify(answer.emit))).toStrictEqual({ stdout: before });
    expect({ ...answer.emit }).toStrictEqual({ stdout: before });
    expect(Object.getOwnPropertyDescriptor(answer.emit, 'stdout').value).toBe(before);
    const other = getSync({ for: { key: 'HELD' }, env: 'test' });
    other.emit.stdout = 'mine';
    expect(other).toMatchObject({ emit: { stdout: 'mine' } });
  });

  it('has ANSI colors only with color: true, and then the same text', () => {
    const { attempts } = getSync({ for: { repo: true }, env: 'test' });
    const colored = formatKeyrackGetAllOutput({ attempts, color: true });
    expect(colored).toContain('\x1b[');
    expect(colored).toBe(getSync({ for: { repo: true }, env: 'test', color: true }).emit.stdout);
    // The parameters that the command uses in a terminal.
    const branch = [['      ├─ ', 'vault:', ' os.secure'], ['      ├─ ', 'mech:', ' PERMANENT_VIA_REPLICA']].map(([lead, name, value]) => `\x1b[2m${lead}\x1b[0m\x1b[2m${name}\x1b[0m${value}\n`).join('');
    expect(getSync({ for: { key: 'HELD' }, env: 'test', color: true }).emit.stdout).toBe(`\n\x1b[1m🔐 keyrack\x1b[0m\n\x1b[2m   └─ \x1b[0m\x1b[36macme.test.HELD\x1b[0m\n${branch}\x1b[2m      └─ \x1b[0m\x1b[2mstatus:\x1b[0m\x1b[32m granted 🔑\x1b[0m\n\n`);
    expect(colored.replace(/\x1b\[\d+m/g, '')).toBe(formatKeyrackGetAllOutput({ attempts }));
  });

  it('contains no control characters of an attempt', () => {
    const attempt = { status: 'absent', slug: 'acme.test.A\x1b[2J', message: 'm', fix: 'do\r\n\u202eit\u{e0041}', note: '\x9bn\u200b' };
    expect(formatKeyrackGetOneOutput({ attempt })).toBe('\n🔐 keyrack\n   └─ acme.test.A[2J\n      ├─ status: absent 🫧\n      ├─ note: n\n      └─ tip: do  it\n\n');
    expect(formatKeyrackKeyBranch({ entry: { status: 'constructor', slug: 's' }, isLast: true })).toStrictEqual(['   └─ s', '      └─ status: constructor']);
  });

  it('of the result of unlock equals that of the command', async () => {
    const expiresAt = new Date(Date.now() + 540 * 60_000).toISOString();
    const unlocked = { slug: 'acme.test.A', source: { vault: 'os.secure', mech: 'PERMANENT_VIA_REPLICA' }, env: 'test', org: 'acme', expiresAt };
    expect(formatKeyrackKeyBranch({ entry: unlocked, isLast: false })).toStrictEqual(['   ├─ acme.test.A', '   │  ├─ env: test', '   │  ├─ org: acme', '   │  ├─ vault: os.secure', '   │  └─ expires in: 540m']);
    const { writeSshKey } = require('./helpers/ssh.cjs');
    writeSshKey(home.home);
    expect((await run(bin('keyrack'), ['init'], { cwd: home.repo, env: home.env })).status).toBe(0);
    const { omitted } = await keyrack.unlock({ env: 'test' });
    expect(omitted.length).toBe(7);
    const drawn = omitted.flatMap((entry, index) => formatKeyrackKeyBranch({ entry, isLast: index === omitted.length - 1 }));
    const { stderr } = await run(bin('keyrack'), ['unlock', '--env', 'test'], { cwd: home.repo, env: { ...home.env, KEYRACK_INVOKED_AS: 'npx keyrack' } });
    expect(stderr).toBe(['', '🔓 keyrack unlock', ...drawn, '', ''].join('\n'));
  });

  it('rejects an entry of a wrong type', () => {
    for (const call of [() => formatKeyrackKeyBranch({ entry: 'x' }), () => formatKeyrackGetOneOutput({ attempt: null })]) expect(call).toThrow(TypeError);
  });
});

it('format functions work without the addon, and get and source use them', async () => {
  const copy = copyPackage();
  try {
    const { attempts, emit } = getSync({ for: { repo: true }, env: 'test' });
    const granted = attempts.filter(({ grant }) => grant?.source.vault === 'os.envvar' && grant.slug !== 'acme.test.WEAK');
    const long = getSync({ for: { key: 'acme.test.LONG' } });
    let report;
    try {
      source({ env: 'test', key: 'acme.test.LONG', onFail: 'throw' });
    } catch (error) {
      report = error.detail;
    }
    const code = `
      const k = require(${JSON.stringify(copy.index)});
      const report = () => { try { k.source({ env: 'test', key: 'acme.test.LONG', onFail: 'throw' }) } catch (error) { return error.detail } };
      console.log(JSON.stringify([k.formatKeyrackGetAllOutput(${JSON.stringify({ attempts })}), k.getSync({ for: { key: 'acme.test.AMBIENT' } }).emit.stdout, k.getSync({ for: { key: 'acme.test.LONG' } }), report()]))`;
    const { stdout } = await runNode(code, { cwd: home.repo, env: { ...home.env, AMBIENT: 'v', LONG: 'ghp_x' } });
    expect(JSON.parse(stdout)).toStrictEqual([emit.stdout, formatKeyrackGetAllOutput({ attempts: granted }), long, report]);
  } finally {
    copy.remove();
  }
});
