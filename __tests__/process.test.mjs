// keyrack in whole processes: both module systems, worker threads, a daemon that does not answer,
// and what is left when it ends.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';

const require = createRequire(import.meta.url);
const { hold, makeHome, root, run, runNode, startDaemon } = require('./helpers/home.cjs');

let home;
let daemon;
beforeAll(async () => {
  home = makeHome();
  home.manifest('org: acme\nenv.test:\n  - TOKEN\n  - OTHER\n');
  daemon = await startDaemon(home);
  await hold(home, { 'acme.test.TOKEN': 's3cret', 'acme.test.OTHER': 'second' });
});
afterAll(async () => {
  await daemon?.stop();
  home?.remove();
});

const here = () => ({ cwd: home.repo, env: home.env });
const entry = JSON.stringify(join(root, 'index.js'));
const esm = JSON.stringify(join(root, 'index.mjs'));

describe('a node process', () => {
  it('require reads a key', async () => {
    const { status, stdout, stderr } = await runNode(`console.log(require(${entry}).getSync({ for: { key: 'TOKEN' }, env: 'test' }).attempt.grant.key.secret)`, here());
    expect({ status, stdout, stderr }).toStrictEqual({ status: 0, stdout: 's3cret\n', stderr: '' });
  });

  it('loads its own addon, whatever a variable of the environment names', async () => {
    const foreign = join(home.repo, 'foreign.js');
    writeFileSync(foreign, "console.log('loaded')\n");
    const env = Object.fromEntries(['NAPI_RS_NATIVE_LIBRARY_PATH', 'KEYRACK_NATIVE_LIBRARY_PATH', 'KEYRACK_BINARY', 'KEYRACK_BIN'].map((name) => [name, foreign]));
    const { status, stdout, stderr } = await runNode(`console.log(require(${entry}).getSync({ for: { key: 'TOKEN' }, env: 'test' }).attempt.grant.key.secret)`, { cwd: home.repo, env: { ...home.env, ...env } });
    expect({ status, stdout, stderr }).toStrictEqual({ status: 0, stdout: 's3cret\n', stderr: '' });
  });

  it('import reads a key, and shares its classes with require', async () => {
    const code = `
      import keyrack, * as all from ${esm};
      import { createRequire } from 'node:module';
      const same = createRequire(${esm})(${entry});
      const { attempts } = await keyrack.get({ for: { repo: true }, env: 'test' });
      console.log(JSON.stringify([attempts.map((each) => each.grant.key.secret), Object.keys(all).every((name) => all[name] === same[name]) && keyrack === same.keyrack, Object.keys(all).sort(), Object.keys(same).sort()]));`;
    const { status, stdout, stderr } = await runNode(null, here(), ['--input-type=module', '-e', code]);
    expect(stderr).toBe('');
    expect(status).toBe(0);
    const names = ['ErasableSecret', 'KeyrackError', 'default', 'del', 'formatKeyrackGetAllOutput', 'formatKeyrackGetOneOutput', 'formatKeyrackKeyBranch', 'genContextKeyrackGrantGet', 'get', 'getKeyrackKeyGrant', 'getSync', 'keyrack', 'relock', 'set', 'source', 'status', 'unlock'];
    expect(JSON.parse(stdout)).toStrictEqual([['s3cret', 'second'], true, names, names]);
  });

  it('exits after every kind of call', async () => {
    const code = `
      const k = require(${entry});
      k.getSync({ for: { key: 'TOKEN' }, env: 'test' });
      k.status();
      k.source({ env: 'test' });
      k.get({ for: { key: 'TOKEN' }, env: 'test' }).then(() => k.get({ for: { key: 'TOKEN' }, env: 'test', with: { unlock: true } })).then(() => console.log('done'));`;
    const { status, stdout, ms } = await runNode(code, here());
    expect({ status, stdout }).toStrictEqual({ status: 0, stdout: 'done\n' });
    expect(ms).toBeLessThan(5000);
  });

  it('reads keyrack.yml of the git root from a subdirectory', async () => {
    const { stdout } = await runNode(`process.chdir('.agent'); console.log(require(${entry}).getSync({ for: { key: 'OTHER' }, env: 'test' }).attempt.grant.slug)`, here());
    expect(stdout).toBe('acme.test.OTHER\n');
  });

  it('reads the environment even with no home, no runtime directory and a removed working directory', async () => {
    const code = `
      const fs = require('fs');
      const dir = fs.mkdtempSync('/tmp/kn-');
      process.chdir(dir);
      fs.rmdirSync(dir);
      console.log(require(${entry}).getSync({ for: { key: 'acme.test.TOKEN' } }).attempt.grant.source.vault)`;
    const { stdout, stderr } = await runNode(code, { cwd: home.repo, env: { PATH: process.env.PATH, TOKEN: 'ambient' } });
    expect({ stdout, stderr }).toStrictEqual({ stdout: 'os.envvar\n', stderr: '' });
  });

  it('never writes a secret to its output when an answer is printed as an error', async () => {
    const code = `throw Object.assign(new Error('x'), { answer: require(${entry}).getSync({ for: { key: 'TOKEN' }, env: 'test', as: 'buffer' }) })`;
    const { status, stderr } = await runNode(code, here());
    expect(status).toBe(1);
    expect(stderr).not.toContain('s3cret');
  });
});

describe('a worker thread', () => {
  it('reads its own environment', async () => {
    const worker = `
      const { parentPort } = require('node:worker_threads');
      const { getSync, status } = require(${entry});
      const at = (key) => getSync({ for: { key } }).attempt;
      parentPort.postMessage([at('acme.test.TOKEN').status, at('acme.test.WORKERS_OWN').grant?.key.secret, status() === null]);`;
    const code = `
      const { Worker } = require('node:worker_threads');
      process.env.WORKERS_OWN = 'of the parent';
      const start = (env) => new Promise((resolve, reject) => {
        const worker = new Worker(${JSON.stringify(worker)}, { eval: true, env });
        worker.once('message', resolve).once('error', reject);
      });
      (async () => {
        const away = { HOME: process.env.HOME, XDG_RUNTIME_DIR: process.argv[1], WORKERS_OWN: 'of the worker' };
        console.log(JSON.stringify([await start(away), await start({ ...process.env }), require(${entry}).status() !== null]));
      })();`;
    const empty = makeHome();
    try {
      const { stdout, stderr } = await runNode(null, here(), ['-e', code, empty.runtime]);
      expect(stderr).toBe('');
      expect(JSON.parse(stdout)).toStrictEqual([['absent', 'of the worker', true], ['granted', 'of the parent', false], true]);
    } finally {
      empty.remove();
    }
  });

  it('can start and end a hundred times', async () => {
    const code = `
      const { Worker } = require('node:worker_threads');
      const once = () => new Promise((resolve, reject) => {
        const worker = new Worker('require(' + ${JSON.stringify(entry)} + ").getSync({ for: { key: 'acme.test.TOKEN' } })", { eval: true });
        worker.once('exit', resolve).once('error', reject);
      });
      (async () => {
        for (let round = 0; round < 25; round += 1) await Promise.all([once(), once(), once(), once()]);
        console.log('all gone');
      })();`;
    const { status, signal, stdout } = await runNode(code, here());
    expect({ status, signal, stdout }).toStrictEqual({ status: 0, signal: null, stdout: 'all gone\n' });
  });
});

describe('source in a process', () => {
  const strict = `require(${entry}).source({ env: 'test', key: 'MISSING' })`;

  it('reports a strict failure once, on stderr, and exits with 2', async () => {
    const { status, stdout, stderr } = await runNode(`${strict}; console.log('not reached')`, here());
    expect({ status, stdout }).toStrictEqual({ status: 2, stdout: '' });
    expect(stderr.match(/acme\.test\.MISSING/g).length).toBeGreaterThan(0);
    expect(stderr.match(/strictly required/g)).toHaveLength(1);
  });

  it('throws in a worker thread, and with onFail: throw', async () => {
    const worker = `const { Worker } = require('node:worker_threads');
      new Worker(${JSON.stringify(`try { ${strict} } catch (error) { console.log(error.code) }`)}, { eval: true })`;
    expect((await runNode(worker, here())).stdout).toBe('absent\n');
    const thrown = `try { require(${entry}).source({ env: 'test', key: 'MISSING', onFail: 'throw' }) } catch (error) { console.log(error.code, error.exit, error.attempts.length) }`;
    expect(await runNode(thrown, here())).toMatchObject({ status: 0, stdout: 'absent 2 1\n', stderr: '' });
    const exits = `const { Worker } = require('node:worker_threads');
      new Worker(${JSON.stringify(`require(${entry}).source({ env: 'test', key: 'MISSING', onFail: 'exit' }); console.log('not reached')`)}, { eval: true })`;
    expect((await runNode(exits, here())).stdout).toBe('');
  });

  it('keeps, overrides and refreshes variables', async () => {
    const code = `
      const { source, relock } = require(${entry});
      const seen = [];
      const note = (options) => seen.push([source({ env: 'test', ...options }), process.env.TOKEN, process.env.OTHER]);
      process.env.TOKEN = 'mine';
      note();
      note({ override: true });
      process.env.OTHER = '';
      note();
      relock({ key: 'acme.test.OTHER' });
      note({ mode: 'lenient' });
      console.log(JSON.stringify(seen));`;
    const { stdout, stderr } = await runNode(code, here());
    await hold(home, { 'acme.test.OTHER': 'second' });
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(stderr).toMatch(/^keyrack: TOKEN .*kept/);
    expect(stderr).not.toContain('s3cret');
    expect(JSON.parse(stdout)).toStrictEqual([
      [{ sourced: ['OTHER'], kept: ['TOKEN'], missing: [] }, 'mine', 'second'],
      [{ sourced: ['TOKEN', 'OTHER'], kept: [], missing: [] }, 's3cret', 'second'],
      [{ sourced: ['TOKEN', 'OTHER'], kept: [], missing: [] }, 's3cret', 'second'],
      [{ sourced: ['TOKEN'], kept: [], missing: ['OTHER'] }, 's3cret', null],
    ]);
  });

  it('skips reserved and too large variables, and notices weaker values', async () => {
    const other = makeHome();
    const names = ['A', 'PATH', 'NODE_OPTIONS', 'UID', 'WEAK: encrypted', 'BIG'];
    other.manifest(`org: acme\nenv.test:\n${names.map((name) => `  - ${name}\n`).join('')}`);
    const held = await startDaemon(other);
    try {
      const values = { A: 'a', PATH: 'hunter2', NODE_OPTIONS: 'hunter2', UID: 'hunter2', BIG: 'x'.repeat(131_067) };
      const holdAll = () => hold(other, Object.fromEntries(Object.entries(values).map(([name, value]) => [`acme.test.${name}`, value])));
      const options = { cwd: other.repo, env: { ...other.env, WEAK: 'evil' } };
      const lenient = `
        const done = require(${entry}).source({ env: 'test', mode: 'lenient' });
        const child = require('node:child_process').spawnSync('printenv', ['A'], { encoding: 'utf8' });
        console.log(JSON.stringify([done, process.env.PATH === ${JSON.stringify(process.env.PATH)}, process.env.NODE_OPTIONS, process.env.BIG?.length, child.stdout]));`;
      await holdAll();
      const fits = await runNode(lenient, options);
      expect(JSON.parse(fits.stdout)).toStrictEqual([{ sourced: ['A', 'BIG'], kept: ['WEAK', 'PATH', 'NODE_OPTIONS', 'UID'], missing: [] }, true, null, 131_067, 'a\n']);
      const lines = fits.stderr.trim().split('\n');
      expect(lines).toHaveLength(4);
      expect(lines[0]).toMatch(/^keyrack: acme\.test\.WEAK: the value in the environment has grade plaintext,permanent, weaker than/);
      for (const [at, name] of ['PATH', 'NODE_OPTIONS', 'UID'].entries()) expect(lines[at + 1]).toMatch(new RegExp(`^keyrack: acme\\.test\\.${name} is left out: ${name} `));
      expect(fits.stderr).not.toContain('hunter2');

      values.BIG += 'x';
      await holdAll();
      const without = await runNode(lenient, options);
      expect(JSON.parse(without.stdout)[0]).toStrictEqual({ sourced: ['A'], kept: ['WEAK', 'PATH', 'NODE_OPTIONS', 'UID'], missing: ['BIG'] });
      expect(without.stderr).toMatch(/acme\.test\.BIG cannot be a variable.*131072 bytes.*131071.*--files/);
      const strict = `try { require(${entry}).source({ env: 'test' }) } catch (error) { console.log(error.code, error.exit, error.slug, process.env.A) }`;
      expect((await runNode(strict, options)).stdout).toBe('value_too_large 2 acme.test.BIG undefined\n');
    } finally {
      await held.stop();
      other.remove();
    }
  });

  it('rejects keys that are too large together, by name and size', async () => {
    const other = makeHome();
    const names = ['A', 'B', 'C', 'D', 'E'];
    other.manifest(`org: acme\nenv.test:\n${names.map((name) => `  - ${name}\n`).join('')}`);
    const held = await startDaemon(other);
    try {
      await hold(other, Object.fromEntries(names.map((name, index) => [`acme.test.${name}`, 'x'.repeat(110_000 - index)])));
      const code = `
        try { console.log(require(${entry}).source({ env: 'test' }).sourced.length) } catch (error) { console.log(error.code, error.message, error.metadata.hint) }`;
      // A quarter of the stack's limit is the kernel's.
      const limited = (kib) => run('sh', ['-c', `ulimit -s ${kib}; exec "$0" -e "$1"`, process.execPath, code], { cwd: other.repo, env: other.env });
      expect((await limited(4096)).stdout).toBe('5\n');
      expect((await limited(2048)).stdout).toMatch(/^value_too_large .*kernel allows 524288: A has 110000, B has 109999, C has 109998 .*--files/);
    } finally {
      await held.stop();
      other.remove();
    }
  });

  it('without keyrack.yml, lenient sets nothing and strict throws no_manifest', async () => {
    const bare = makeHome();
    try {
      const options = { cwd: bare.repo, env: home.env };
      expect((await runNode(`console.log(JSON.stringify(require(${entry}).source({ env: 'test', mode: 'lenient' })))`, options)).stdout).toBe('{"sourced":[],"kept":[],"missing":[]}\n');
      expect((await runNode(`try { require(${entry}).source({ env: 'test' }) } catch (error) { console.log(error.code, error.exit) }`, options)).stdout).toBe('no_manifest 2\n');
    } finally {
      bare.remove();
    }
  });

  it('warns of a malformed entry of keyrack.yml, and throws for a malformed file', async () => {
    const broken = makeHome();
    try {
      const options = { cwd: broken.repo, env: { ...home.env, GOOD: 'g' } };
      broken.manifest('org: acme\nenv.test:\n  - {}\n  - GOOD\n');
      const answer = await runNode(`console.log(JSON.stringify(require(${entry}).source({ env: 'test' })))`, options);
      expect(answer).toMatchObject({ status: 0, stdout: '{"sourced":[],"kept":["GOOD"],"missing":[]}\n' });
      expect(answer.stderr).toMatch(/^keyrack: \.agent\/keyrack\.yml:3: .*\n$/);
      const warned = await runNode(`console.log(JSON.stringify(require(${entry}).getSync({ for: { repo: true }, env: 'test' }).warnings))`, options);
      expect(JSON.parse(warned.stdout)).toMatchObject([{ code: 'manifest_invalid', message: expect.stringContaining('keyrack.yml:3') }]);
      broken.manifest('env.test:\n  - GOOD\n');
      const whole = await runNode(`try { require(${entry}).source({ env: 'test', mode: 'lenient' }) } catch (error) { console.log(error.code, error.message) }`, options);
      expect(whole.stdout).toMatch(/^manifest_invalid .*keyrack\.yml/);
    } finally {
      broken.remove();
    }
  });
});

describe('a daemon that does not answer', () => {
  it('delays a call by its timeout only', async () => {
    const stopped = makeHome();
    const other = await startDaemon(stopped);
    try {
      other.kill('SIGSTOP');
      const code = `
        const { getSync, status, source } = require(${entry});
        const seen = [];
        for (const call of [() => getSync({ for: { key: 'acme.test.TOKEN' }, timeoutMs: 300 }), () => status({ timeoutMs: 300 }), () => source({ env: 'test', key: 'acme.test.TOKEN', timeoutMs: 300 })]) {
          const begun = performance.now();
          try { call() } catch (error) { seen.push([error.code, performance.now() - begun]) }
        }
        process.env.TOKEN = 'ambient';
        seen.push(getSync({ for: { key: 'acme.test.TOKEN' }, timeoutMs: 300 }).attempt.grant.source.vault);
        console.log(JSON.stringify(seen))`;
      const { stdout } = await runNode(code, { cwd: stopped.repo, env: stopped.env });
      const [get, status, source, ambient] = JSON.parse(stdout);
      for (const [code, ms] of [get, status]) {
        expect(code).toBe('daemon_unresponsive');
        expect(ms).toBeGreaterThan(290);
        expect(ms).toBeLessThan(600);
      }
      // A read that follows one that timed out fails at once.
      expect(source[0]).toBe('daemon_unresponsive');
      expect(source[1]).toBeLessThan(200);
      expect(ambient).toBe('os.envvar');
      const begun = performance.now();
      const bare = await runNode(`try { require(${entry}).getSync({ for: { key: 'acme.test.TOKEN' } }) } catch (error) { console.log(error.code) }`, { cwd: stopped.repo, env: stopped.env });
      expect(bare.stdout).toBe('daemon_unresponsive\n');
      expect(performance.now() - begun).toBeGreaterThan(1990);
      expect(performance.now() - begun).toBeLessThan(3500);
    } finally {
      await other.stop();
      stopped.remove();
    }
  });
});

describe('bin/keyrack', () => {
  const shim = join(root, 'bin', 'keyrack');

  it('works through symbolic links and through node', async () => {
    symlinkSync(shim, join(home.base, 'one'));
    symlinkSync('one', join(home.base, 'two'));
    symlinkSync('loop', join(home.base, 'loop'));
    for (const [program, ...args] of [[join(home.base, 'one')], [join(home.base, 'two')], [process.execPath, shim], [process.execPath, join(home.base, 'two')]]) {
      expect(await run(program, [...args, 'get', '--key', 'acme.test.TOKEN', '--value'], here())).toMatchObject({ status: 0, stdout: 's3cret' });
    }
  });

  it('shows in its fixes how it was called', async () => {
    const fix = async (env) => (await run(shim, ['get', '--key', 'acme.test.NOPE', '--json'], { cwd: home.repo, env: { ...home.env, ...env } })).stdout;
    expect(JSON.parse(await fix({})).fix).toMatch(/^npx keyrack /);
    expect(JSON.parse(await fix({ KEYRACK_INVOKED_AS: 'rhx keyrack' })).fix).toMatch(/^rhx keyrack /);
    expect(JSON.parse(await fix({ KEYRACK_INVOKED_AS: 'evil; keyrack' })).fix).toMatch(/^npx keyrack /);
  });

  it('shows its bare name if that calls it, as in a global installation', async () => {
    const [own, other] = ['own', 'other'].map((name) => join(home.base, name));
    [own, other].forEach((directory) => mkdirSync(directory));
    symlinkSync(shim, join(own, 'keyrack'));
    writeFileSync(join(other, 'keyrack'), '#!/bin/sh\n', { mode: 0o755 });
    for (const [program, first, env, invoked] of [
      ['keyrack', own, {}, 'keyrack'],
      [shim, own, {}, 'keyrack'],
      [shim, other, {}, 'npx keyrack'],
      [join(own, 'keyrack'), home.base, {}, 'npx keyrack'],
      ['keyrack', own, { npm_config_user_agent: 'npm/10.9.0 node/v22.0.0' }, 'npx keyrack'],
      ['keyrack', own, { npm_lifecycle_event: 'test' }, 'npx keyrack'],
      ['keyrack', own, { npm_config_user_agent: 'pnpm/9.0.0' }, 'pnpm keyrack'],
      ['keyrack', own, { npm_config_user_agent: 'yarn/4.0.0' }, 'yarn keyrack'],
      ['keyrack', own, { KEYRACK_INVOKED_AS: 'rhx keyrack' }, 'rhx keyrack'],
    ]) {
      const PATH = `${first}:/usr/bin:/bin`;
      const { stderr } = await run('/bin/sh', ['-c', 'exec "$0" get --nope --json', program], { cwd: home.repo, env: { ...home.env, PATH, ...env } });
      expect([program, env, JSON.parse(stderr).error.fix]).toStrictEqual([program, env, `${invoked} get --help`]);
    }
  });
});
