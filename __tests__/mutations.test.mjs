// The changing calls through the real command: set, unlock, get that unlocks, del, on a real vault.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRequire } from 'node:module';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { spawn } from 'node:child_process';

const require = createRequire(import.meta.url);
const { bin, canRun, makeHome, root, run, runNode } = require('./helpers/home.cjs');
const { writeSshKey } = require('./helpers/ssh.cjs');

let home;
const here = () => ({ cwd: home.repo, env: home.env });
const keyrack = (...args) => run(bin('keyrack'), args, here());

/** Evaluates a body with `k` in a node that stands in the repository, and reads what it returns. */
async function js(body) {
  const code = `
    const k = require(${JSON.stringify(join(root, 'index.js'))});
    (async () => { ${body} })().then((value) => console.log(JSON.stringify(value)), (error) => console.log(JSON.stringify({ ...error, name: error.name, message: error.message })));`;
  const { stdout, stderr } = await runNode(code, here());
  expect(stderr).toBe('');
  return JSON.parse(stdout);
}

beforeAll(async () => {
  home = makeHome();
  writeSshKey(home.home);
  expect(await keyrack('init', '--org', 'acme')).toMatchObject({ status: 0 });
});
afterAll(async () => {
  await keyrack('daemon', 'stop');
  home?.remove();
});

describe('set, unlock, get, relock and del', () => {
  it('work by name, one after the other', async () => {
    const secret = 'a "secret"\n of two lines, ü';
    const set = { key: 'TOKEN', env: 'test', vault: 'os.secure', mech: 'PERMANENT_VIA_REPLICA' };
    expect(await js(`return k.set({ ...${JSON.stringify(set)}, secret: ${JSON.stringify(secret)} })`)).toMatchObject({ slug: 'acme.test.TOKEN', vault: 'os.secure', mech: 'PERMANENT_VIA_REPLICA', env: 'test', org: 'acme' });
    expect(await js("return k.getSync({ for: { key: 'TOKEN' }, env: 'test' }).attempt")).toStrictEqual({ status: 'locked', slug: 'acme.test.TOKEN', message: expect.any(String), fix: 'npx keyrack unlock --env test --key TOKEN' });
    expect(await js('return k.status()')).toBeNull();

    const { unlocked, omitted } = await js("return k.unlock({ env: 'test', duration: '10m' })");
    expect(omitted).toStrictEqual([]);
    expect(unlocked).toMatchObject([{ slug: 'acme.test.TOKEN', source: { vault: 'os.secure' }, expiresAt: expect.any(String) }]);
    expect(JSON.stringify(unlocked)).not.toContain('secret');
    expect(await js("return k.getSync({ for: { key: 'TOKEN' }, env: 'test' }).attempt.grant.key.secret")).toBe(secret);
    expect(await js("return k.source({ env: 'test' }), process.env.TOKEN")).toBe(secret);

    expect(await js("return k.relock({ env: 'test' })")).toStrictEqual({ relocked: ['acme.test.TOKEN'] });
    expect(await js("return k.del({ key: 'TOKEN', env: 'test' })")).toMatchObject({ slug: 'acme.test.TOKEN', effect: 'deleted' });
    expect(await js("return k.del({ key: 'TOKEN', env: 'test' })")).toMatchObject({ effect: 'not_found' });
    expect(await js("return k.getSync({ for: { key: 'acme.test.TOKEN' } }).attempt.status")).toBe('absent');
  });

  it('work by full slug, in a repository or outside of one', async () => {
    const today = { slug: 'acme.test.BY_SLUG', mech: 'PERMANENT_VIA_REPLICA', vault: 'os.secure', exid: null, owner: null, prikey: join(home.home, '.ssh', 'id_ed25519') };
    for (const where of ['process.cwd()', "'/'"]) {
      const call = (body) => js(`process.chdir(${where}); ${body}`);
      const host = await call(`return k.set({ ...${JSON.stringify(today)}, secret: 'v' })`);
      expect(host).toStrictEqual({ slug: 'acme.test.BY_SLUG', mech: 'PERMANENT_VIA_REPLICA', vault: 'os.secure', exid: null, env: 'test', org: 'acme', meta: { keyrackBindVersion: expect.any(Number) }, maxDuration: null, createdAt: expect.any(String), updatedAt: expect.any(String) });
      expect(await call("return k.get({ for: { key: 'acme.test.BY_SLUG' }, owner: null, with: { unlock: true } })")).toMatchObject({ attempt: { status: 'granted', grant: { key: { secret: 'v' } } } });
      expect(await call("return k.del({ slug: 'acme.test.BY_SLUG' })")).toStrictEqual({ slug: 'acme.test.BY_SLUG', effect: 'deleted' });
      // There is no terminal to prompt for the secret.
      expect(await call(`return k.set(${JSON.stringify(today)})`)).toMatchObject({ code: 'prompt_needed', slug: 'acme.test.BY_SLUG' });
    }
    expect(await js(`return k.set({ ...${JSON.stringify(today)}, slug: 'other.test.K', secret: 'v' })`)).toMatchObject({ code: 'org_mismatch' });
    expect(await js("return k.set({ key: 'K', slug: 'acme.test.K', vault: 'os.secure' })")).toMatchObject({ name: 'TypeError', message: 'set: pass key or slug, not both' });
  });

  it('set by slug prompts at a terminal, and only there', async () => {
    if (!canRun('asks for the secret of a slug at a terminal', 'script')) return;
    const code = `require(${JSON.stringify(join(root, 'index.js'))}).set({ slug: "acme.test.TYPED", mech: "PERMANENT_VIA_REPLICA", vault: "os.secure" }).then((host) => console.log("stored", host.slug), (error) => console.log(error.code))`;
    const file = join(home.repo, 'typed.cjs');
    writeFileSync(file, code);
    const terminal = spawn('script', ['-qec', `${process.execPath} ${file}`, '/dev/null'], { ...here(), stdio: ['pipe', 'pipe', 'inherit'] });
    const late = setTimeout(() => terminal.kill('SIGKILL'), 15_000);
    let shown = '';
    let typed = false;
    terminal.stdout.setEncoding('utf8').on('data', (text) => {
      shown += text;
      if (!typed && shown.includes('TYPED')) {
        typed = true;
        // The prompt is drawn once echo is off.
        terminal.stdin.write('typed in\r');
      }
    });
    await new Promise((resolve) => terminal.once('close', resolve));
    clearTimeout(late);
    expect(shown).toContain('stored acme.test.TYPED');
    expect(shown).not.toContain('typed in');
    expect(await js("return k.get({ for: { key: 'acme.test.TYPED' }, with: { unlock: true } })")).toMatchObject({ attempt: { grant: { key: { secret: 'typed in' } } } });
    expect(await js("return k.del({ slug: 'acme.test.TYPED' })")).toMatchObject({ effect: 'deleted' });
  });

  it('get with unlock unlocks only the locked keys', async () => {
    for (const key of ['ONE', 'TWO', 'THREE']) {
      await js(`return k.set({ key: '${key}', env: 'test', vault: 'os.secure', mech: 'PERMANENT_VIA_REPLICA', secret: new TextEncoder().encode('${key}!') })`);
    }
    const { attempt } = await js("return k.get({ for: { key: 'ONE' }, env: 'test', with: { unlock: true } })");
    expect(attempt.grant).toMatchObject({ slug: 'acme.test.ONE', key: { secret: 'ONE!' } });
    expect(await js('return k.status().keys.map((key) => key.slug)')).toStrictEqual(['acme.test.ONE']);
    const bytes = await js("const { attempt } = await k.get({ for: { key: 'TWO' }, env: 'test', with: { unlock: true }, as: 'buffer' }); return [...attempt.grant.key.secret.bytes]");
    expect(Buffer.from(bytes).toString()).toBe('TWO!');
    const { attempts } = await js("return k.get({ for: { repo: true }, env: 'test', with: { unlock: true } })");
    expect(attempts.filter((each) => each.status === 'granted').map((each) => each.grant.key.secret).sort()).toStrictEqual(['ONE!', 'THREE!', 'TWO!']);
    expect(await js("return k.get({ for: { key: 'NEVER' }, env: 'test', with: { unlock: true } })")).toMatchObject({ attempt: { status: 'absent' } });
  });

  it('set stores the secret byte for byte, and notices likely mistakes', async () => {
    const table = [
      ['plain', []],
      ['line\n', ['ends with a newline']],
      ['two\nlines\n', []],
      ['two\nlines\n\n', ['ends with a newline']],
      ['-----BEGIN X-----\nabc\n-----END X-----\n', []],
      ['dos\r\n', ['contains a carriage return (CR)', 'ends with a newline']],
      ['\uFEFFmarked', ['begins with a byte order mark (U+FEFF)']],
      ['zero\u200Bwidth', ['contains an invisible character (U+200B)']],
      [' padded\t', ['begins with white space', 'ends with white space']],
    ];
    const base = { key: 'EXACT', env: 'test', vault: 'os.secure', mech: 'PERMANENT_VIA_REPLICA' };
    const forms = ['value', 'new TextEncoder().encode(value)', 'Buffer.from(value)'];
    for (const [index, [value, notices]] of table.entries()) {
      const form = forms[index % forms.length];
      const host = await js(`const value = ${JSON.stringify(value)}; return k.set({ ...${JSON.stringify(base)}, secret: ${form} })`);
      expect(await keyrack('get', '--key', 'EXACT', '--env', 'test', '--unlock', '--value'), JSON.stringify(value)).toMatchObject({ status: 0, stdout: value });
      expect(host.notices ?? [], JSON.stringify(value)).toHaveLength(notices.length > 0 ? 1 : 0);
      for (const notice of notices) expect(host.notices[0]).toContain(notice);
    }
    for (const blank of [' ', '\n', '\r\n', '\uFEFF', '\u200B \t']) {
      expect(await js(`return k.set({ ...${JSON.stringify(base)}, secret: ${JSON.stringify(blank)} })`)).toMatchObject({ code: 'empty_secret', message: expect.stringContaining('is blank') });
    }
    expect(await js("return k.del({ key: 'EXACT', env: 'test' })")).toMatchObject({ effect: 'deleted' });
  });

  it('unlock rejects a file that belongs to another key', async () => {
    const secure = join(home.home, '.rhachet/keyrack/vault/os.secure/owner=default');
    const file = (key) => join(secure, `${createHash('sha256').update(`acme.test.${key}`).digest('hex').slice(0, 16)}.age`);
    const keys = ['SWAP_A', 'SWAP_B'];
    for (const key of keys) await js(`return k.set({ key: '${key}', env: 'test', vault: 'os.secure', mech: 'PERMANENT_VIA_REPLICA', secret: '${key}!' })`);
    const [a, b] = keys.map((key) => readFileSync(file(key)));
    writeFileSync(file('SWAP_A'), b);
    writeFileSync(file('SWAP_B'), a);
    for (const key of keys) {
      expect(await js(`return k.unlock({ key: '${key}', env: 'test' })`)).toMatchObject({ unlocked: [], omitted: [{ reason: 'errored', cause: { code: 'vault_mismatch', fix: `npx keyrack set --env test --key ${key} --vault os.secure --mech PERMANENT_VIA_REPLICA` } }] });
      expect(await js(`return k.del({ key: '${key}', env: 'test' })`)).toMatchObject({ effect: 'deleted' });
    }
  });

  it('source fails with one command that unlocks all locked keys', async () => {
    await js('return k.relock()');
    const failed = await js("return k.source({ env: 'test', onFail: 'throw' })");
    expect(failed).toMatchObject({ code: 'locked', fix: 'npx keyrack unlock --env test', message: expect.stringMatching(/^3 keys are not granted: .*; run: npx keyrack unlock --env test$/) });
    expect(failed.attempts.map((each) => each.fix)).toStrictEqual(['ONE', 'TWO', 'THREE'].map((key) => `npx keyrack unlock --env test --key ${key}`));
    expect(failed.detail).toContain('\nfix: npx keyrack unlock --env test\n');
    await js("return k.unlock({ env: 'test', key: 'ONE' })");
    await js("return k.unlock({ env: 'test', key: 'TWO' })");
    expect(await js("return k.source({ env: 'test', onFail: 'throw' })")).toMatchObject({ code: 'locked', fix: 'npx keyrack unlock --env test --key THREE' });
  });

  it('a misspelled key gets a suggestion', async () => {
    expect(await js("return k.getSync({ for: { key: 'THERE' }, env: 'test' }).attempt")).toStrictEqual({
      status: 'absent',
      slug: 'acme.test.THERE',
      message: 'acme.test.THERE is not declared in keyrack.yml; did you mean THREE?',
      note: 'not declared in keyrack.yml; did you mean THREE?',
      fix: 'npx keyrack get --env test --key THREE',
    });
    expect(await js("return k.unlock({ env: 'test', key: 'THERE' })")).toMatchObject({ code: 'key_not_found', fix: 'npx keyrack unlock --env test --key THREE' });
  });

  it('unlock with org @all unlocks a key of the machine', async () => {
    await js("return k.set({ key: 'BOX', org: '@all', env: 'prep', vault: 'os.secure', mech: 'PERMANENT_VIA_REPLICA', secret: 'box' })");
    expect(await js("return k.unlock({ org: '@all', env: 'prep', key: 'BOX' })")).toMatchObject({ unlocked: [{ slug: '@all.prep.BOX' }], omitted: [] });
    expect(await js("return k.del({ key: 'BOX', org: '@all', env: 'prep' })")).toMatchObject({ effect: 'deleted' });
    await expect(js("return k.unlock({ org: 7 })")).resolves.toMatchObject({ name: 'TypeError', message: expect.stringContaining('unlock: org') });
  });

  it('unlock continues after a key that fails', async () => {
    await js('return k.relock()');
    const dir = join(home.home, '.rhachet/keyrack/vault/os.secure/owner=default');
    const file = join(dir, `${createHash('sha256').update('acme.test.ONE').digest('hex').slice(0, 16)}.age`);
    expect(existsSync(file)).toBe(true);
    const whole = readFileSync(file);
    writeFileSync(file, 'no age file');
    const { unlocked, omitted } = await js("return k.unlock({ env: 'test' })");
    expect(unlocked.map((grant) => grant.slug).sort()).toStrictEqual(['acme.test.THREE', 'acme.test.TWO']);
    expect(omitted).toMatchObject([{ slug: 'acme.test.ONE', reason: 'errored', cause: { code: 'vault_corrupt' } }]);
    writeFileSync(file, whole);
  });
});

describe('an invalid argument', () => {
  it.each([
    ["k.set({ key: 'TOKEN', env: 'nope', vault: 'os.secure', mech: 'PERMANENT_VIA_REPLICA', secret: 's' })", 'bad_env'],
    ["k.set({ key: 'TOKEN', env: 'test', vault: 'os.nope', secret: 's' })", 'bad_vault'],
    ["k.set({ key: 'TOKEN', env: 'test', vault: 'os.secure', mech: 'PERMANENT_VIA_REPLICA', secret: '' })", 'empty_secret'],
    ["k.set({ key: 'TOKEN', env: 'test', vault: 'os.secure', mech: 'PERMANENT_VIA_REPLICA' })", 'prompt_needed'],
    ["k.set({ key: 'TOKEN', env: 'test', vault: 'os.secure', mech: 'PERMANENT_VIA_REPLICA', secret: 'ghp_0123456789' })", 'long_lived_token'],
    ["k.unlock({ env: 'test', duration: 'forever' })", 'bad_duration'],
    ["k.unlock({ env: 'sudo' })", 'sudo_needs_key'],
    ["k.unlock({ env: 'test', owner: 'nobody' })", 'host_manifest_missing'],
  ])('%s is %s', async (call, code) => {
    const error = await js(`return ${call}`);
    expect(error).toMatchObject({ name: 'KeyrackError', code, exit: 2 });
    expect(JSON.stringify(error)).not.toContain('0123456789');
  });

  it('a passphrase without a prompt fails with prompt_needed', async () => {
    if (!canRun('a passphrase without a prompt fails with prompt_needed', 'ssh-keygen')) return;
    const owner = makeHome();
    try {
      const key = join(owner.home, '.ssh', 'id_ed25519');
      mkdirSync(join(owner.home, '.ssh'), { mode: 0o700 });
      expect((await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', 'correct horse', '-f', key], { env: owner.env })).status).toBe(0);
      await run(bin('keyrack'), ['init', '--org', 'acme'], { cwd: owner.repo, env: owner.env });
      const code = `
        const k = require(${JSON.stringify(join(root, 'index.js'))});
        k.unlock({ env: 'test' }).catch((error) => console.log(error.code, error.exit, error.message.includes('id_ed25519')));`;
      const { stdout, ms } = await runNode(code, { cwd: owner.repo, env: owner.env });
      expect(stdout).toBe('prompt_needed 2 true\n');
      expect(ms).toBeLessThan(10_000);
    } finally {
      owner.remove();
    }
  });
});

describe("prompt: 'tty'", () => {
  const ask = "k.set({ key: 'TYPED', env: 'test', vault: 'os.secure', mech: 'PERMANENT_VIA_REPLICA', prompt: 'tty' })";

  it('prompts at the terminal, and typed text never enters this heap', async () => {
    if (!canRun('prompts at the terminal, and typed text never enters this heap', 'script')) return;
    const file = join(home.base, 'asks.cjs');
    writeFileSync(file, `const k = require(${JSON.stringify(join(root, 'index.js'))}); ${ask}.then((host) => console.log('set', host.slug), (error) => console.log(error.code));`);
    // A terminal of its own, typed at once the question is there.
    const child = spawn('script', ['-qec', `${process.execPath} ${file}`, '/dev/null'], here());
    let shown = '';
    let typed = false;
    child.stdout.setEncoding('utf8').on('data', (text) => {
      shown += text;
      if (!typed && shown.includes('Secret for')) {
        typed = true;
        child.stdin.write('typed by hand\r');
      }
    });
    const late = setTimeout(() => child.kill('SIGKILL'), 15_000);
    await new Promise((resolve) => child.once('close', resolve));
    clearTimeout(late);
    expect(shown).toContain('set acme.test.TYPED');
    expect(shown).not.toContain('typed by hand');
    const { attempt } = await js("return k.get({ for: { key: 'TYPED' }, env: 'test', with: { unlock: true } })");
    expect(attempt.grant.key.secret).toBe('typed by hand');
  });

  it('without a terminal fails with prompt_needed', async () => {
    const { stdout } = await run('setsid', ['-w', process.execPath, '-e', `const k = require(${JSON.stringify(join(root, 'index.js'))}); ${ask}.catch((error) => console.log(error.code))`], here());
    expect(stdout).toBe('prompt_needed\n');
  });
});

it('no secret is on disk or in the output', async () => {
  const found = [];
  for (const entry of readdirSync(home.base, { recursive: true, withFileTypes: true })) {
    const file = join(entry.parentPath ?? entry.path, entry.name);
    if (entry.isFile() && /ONE!|TWO!|THREE!|of two lines|typed by hand/.test(readFileSync(file, 'latin1'))) found.push(file);
  }
  expect(found).toStrictEqual([]);
});
