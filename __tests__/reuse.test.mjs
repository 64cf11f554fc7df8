// The connection and the parsed keyrack.yml that the addon keeps between reads. Neither may outlive
// what it was made from.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { copyFileSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, unlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(import.meta.url);
const { canRun, hold, makeHome, root, run, runNode, startDaemon } = require('./helpers/home.cjs');
const { getSync } = require('../index.js');

const entry = JSON.stringify(join(root, 'index.js'));
const isRoot = process.getuid() === 0;

// Sockets of this process, by descriptor.
const SOCKETS = `
  const fs = require('node:fs');
  const links = () => Object.fromEntries(fs.readdirSync('/proc/self/fd').map((fd) => { try { return [fd, fs.readlinkSync('/proc/self/fd/' + fd)] } catch { return [fd, ''] } }));
  const sockets = () => Object.entries(links()).filter(([, link]) => link.startsWith('socket:')).map(([fd]) => Number(fd));
  const before = new Set(sockets());
  const ours = () => sockets().filter((fd) => !before.has(fd));
  const { getSync, relock } = require(${entry});
  const read = (options) => getSync({ for: { key: 'acme.test.TOKEN' }, ...options }).attempt.status;`;

describe('the kept connection', () => {
  let home;
  let daemon;
  beforeEach(async () => {
    home = makeHome();
    daemon = await startDaemon(home);
    await hold(home, { 'acme.test.TOKEN': 's3cret' });
  });
  afterEach(async () => {
    await daemon?.stop();
    home?.remove();
  });

  /** Runs a script in a Node of its own, and returns what it printed as JSON. */
  async function js(code, { args = [], program = process.execPath } = {}) {
    const { stdout, stderr } = await run(program, [...args, '-e', `${SOCKETS}\n(async () => console.log(JSON.stringify(await (async () => { ${code} })())))()`], { cwd: home.repo, env: home.env, timeout: 60_000 });
    expect(stderr).toBe('');
    return JSON.parse(stdout);
  }

  it('is one for all reads of a thread, and keeps no process alive', async () => {
    const begun = performance.now();
    expect(await js('for (let n = 0; n < 50; n += 1) read(); return [read(), ours().length];')).toStrictEqual(['granted', 1]);
    expect(performance.now() - begun).toBeLessThan(10_000);
  });

  it('serves no key that was relocked', async () => {
    expect(await js("const first = read(); relock({ key: 'acme.test.TOKEN' }); return [first, read(), ours().length];")).toStrictEqual(['granted', 'absent', 1]);
  });

  it('is replaced when the daemon was', async () => {
    const code = `
      const first = read();
      process.kill(${daemon.pid}, 'SIGKILL');
      await new Promise((resolve) => setTimeout(resolve, 300));
      return [first, read(), ours().length];`;
    expect(await js(code)).toStrictEqual(['granted', 'absent', 0]);
  });

  it('is not used for another rack, home or demand', async () => {
    const other = makeHome();
    try {
      const code = `
        const seen = [read()];
        seen.push(read({ owner: 'robot' }));
        process.env.XDG_RUNTIME_DIR = ${JSON.stringify(other.runtime)};
        seen.push(read());
        process.env.XDG_RUNTIME_DIR = ${JSON.stringify(home.runtime)};
        seen.push(read());
        process.env.HOME = ${JSON.stringify(other.home)};
        seen.push(read());
        return seen;`;
      expect(await js(code)).toStrictEqual(['granted', 'absent', 'absent', 'granted', 'absent']);
    } finally {
      other.remove();
    }
  });

  it.runIf(isRoot)('is closed after setuid', async () => {
    const code = `
      const first = read();
      process.setuid(65534);
      let second;
      try { second = read(); } catch (error) { second = error.code; }
      return [first, second, ours().length];`;
    const [first, second, left] = await js(code);
    expect([first, left]).toStrictEqual(['granted', 0]);
    expect(second).not.toBe('granted');
  });

  it.runIf(isRoot)('is closed once the process is in another login session', async () => {
    const code = `
      const first = read();
      fs.writeFileSync('/proc/self/loginuid', '4242');
      return [first, read(), ours().length];`;
    expect(await js(code)).toStrictEqual(['granted', 'absent', 0]);
  });

  it('is replaced after all descriptors were closed, and no file that got one is', async () => {
    const code = `
      const first = read();
      const old = Object.entries(links()).filter(([, link]) => link.startsWith('socket:') || link.includes('sessionid') || link.includes('pidfd')).map(([fd]) => Number(fd)).filter((fd) => !before.has(fd));
      for (const fd of old) fs.closeSync(fd);
      const taken = old.map(() => fs.openSync('/dev/null', 'r'));
      const second = read();
      return [first, old.length >= 3, second, taken.every((fd) => links()[fd] === '/dev/null'), read(), ours().length];`;
    expect(await js(code)).toStrictEqual(['granted', true, 'granted', true, 'granted', 1]);
  });

  it('is not confused with a file that reuses its descriptor, which stays open', async () => {
    const code = `
      const first = read();
      const [fd] = ours();
      fs.closeSync(fd);
      const taken = fs.openSync('/dev/null', 'r');
      const second = read();
      return [first, taken === fd, second, links()[fd], read(), ours().length];`;
    expect(await js(code)).toStrictEqual(['granted', true, 'granted', '/dev/null', 'granted', 1]);
  });

  it('is not shared with a worker, and closed when the worker ends', async () => {
    const code = `
      read();
      const { Worker } = require('node:worker_threads');
      const worker = new Worker("require('node:worker_threads').parentPort.postMessage(require(" + ${JSON.stringify(entry)} + ").getSync({ for: { key: 'acme.test.TOKEN' } }).attempt.status); setTimeout(() => {}, 500)", { eval: true });
      const status = await new Promise((resolve) => worker.once('message', resolve));
      const during = ours().length;
      await new Promise((resolve) => worker.once('exit', resolve));
      return [status, during, ours().length];`;
    expect(await js(code)).toStrictEqual(['granted', 2, 1]);
  });

  it('is closed after 30 s without a read', { timeout: 60_000 }, async () => {
    const code = `
      read();
      const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
      await wait(10_000);
      read();
      await wait(25_000);
      const within = ours().length;
      await wait(6_500);
      return [within, ours().length, read()];`;
    expect(await js(code)).toStrictEqual([1, 0, 'granted']);
  });

  it('takes at most 8 system calls for a read, and one stat for each path that is watched', async () => {
    if (!canRun('takes at most 8 system calls for a read', 'strace')) return;
    home.manifest('org: acme\nenv.test:\n  - TOKEN\n');
    const old = new Date(Date.now() - 60_000);
    utimesSync(join(home.repo, '.agent', 'keyrack.yml'), old, old);
    await new Promise((resolve) => setTimeout(resolve, 50));
    const trace = join(home.base, 'trace');
    const code = `
      for (let n = 0; n < 300; n += 1) read();
      for (let n = 0; n < 5; n += 1) { fs.writeSync(2, 'begin'); read(); fs.writeSync(2, 'end'); }`;
    const { status } = await run('strace', ['-o', trace, process.execPath, '-e', `${SOCKETS}\n${code}`], { cwd: home.repo, env: home.env, timeout: 60_000 });
    expect(status).toBe(0);
    const rounds = readFileSync(trace, 'utf8').split('write(2, "begin"').slice(1).map((round) => round.slice(round.indexOf('\n') + 1, round.indexOf('write(2, "end"')).trim().split('\n'));
    expect(rounds).toHaveLength(5);
    const isStat = (line) => /^(statx|newfstatat)\(/.test(line);
    // A round may have a collection of garbage in it.
    const fewest = rounds.reduce((one, other) => (other.length < one.length ? other : one));
    const calls = fewest.filter((line) => !isStat(line));
    expect(calls.length, fewest.join('\n')).toBeLessThanOrEqual(8);
    const paths = fewest.filter(isStat).map((line) => /"([^"]*)"/.exec(line)[1]);
    expect(new Set(paths).size).toBe(paths.length);
    expect(paths.sort()).toStrictEqual([home.home, home.repo, join(home.repo, '.agent'), join(home.repo, '.agent', 'keyrack.yml'), join(home.repo, '.git'), home.socket].sort());
  });
});

describe('a daemon that timed out', () => {
  it('fails further reads at once for 5 s, but not with a longer deadline, and is asked again then', async () => {
    const home = makeHome();
    const daemon = await startDaemon(home);
    try {
      await hold(home, { 'acme.test.TOKEN': 's3cret' });
      daemon.kill('SIGSTOP');
      const code = `
        const { getSync, source } = require(${entry});
        const seen = [];
        const timed = (call) => {
          const begun = performance.now();
          let code;
          try { code = call().attempt.status } catch (error) { code = error.code }
          seen.push([code, performance.now() - begun]);
        };
        const read = (timeoutMs) => () => getSync({ for: { key: 'acme.test.TOKEN' }, timeoutMs });
        timed(read(300));
        timed(read(300));
        timed(() => source({ env: 'test', key: 'acme.test.TOKEN', timeoutMs: 300 }));
        timed(read(400));
        process.kill(${daemon.pid}, 'SIGCONT');
        setTimeout(() => { timed(read(300)); console.log(JSON.stringify(seen)); }, 5100);`;
      const { stdout } = await runNode(code, { cwd: home.repo, env: home.env });
      const seen = JSON.parse(stdout);
      expect(seen.map(([code]) => code)).toStrictEqual([...Array(4).fill('daemon_unresponsive'), 'granted']);
      const [first, second, sourced, longer] = seen.map(([, ms]) => ms);
      expect(first).toBeGreaterThan(290);
      expect(second).toBeLessThan(100);
      expect(sourced).toBeLessThan(100);
      expect(longer).toBeGreaterThan(390);
    } finally {
      await daemon.stop();
      home.remove();
    }
  });
});

describe('the kept manifest', () => {
  let home;
  const saved = { cwd: process.cwd(), HOME: process.env.HOME, XDG_RUNTIME_DIR: process.env.XDG_RUNTIME_DIR };
  const manifest = (name) => `org: acme\nenv.test:\n  - ${name}\n`;
  const file = () => join(home.repo, '.agent', 'keyrack.yml');
  const settle = () => new Promise((resolve) => setTimeout(resolve, 40));
  /** Names that the repository declares, as a read sees them. */
  const names = () => getSync({ for: { repo: true }, env: 'test' }).attempts.map(({ slug }) => slug.split('.')[2]);
  beforeEach(async () => {
    home = makeHome();
    home.manifest(manifest('A'));
    Object.assign(process.env, { HOME: home.home, XDG_RUNTIME_DIR: home.runtime });
    process.chdir(home.repo);
    await settle();
    for (let n = 0; n < 3; n += 1) expect(names()).toStrictEqual(['A']);
  });
  afterEach(() => {
    process.chdir(saved.cwd);
    home.remove();
  });
  afterAll(() => {
    for (const name of ['HOME', 'XDG_RUNTIME_DIR']) saved[name] === undefined ? delete process.env[name] : (process.env[name] = saved[name]);
  });

  it('is read again when another file was renamed over it', () => {
    writeFileSync(`${file()}.new`, manifest('B'));
    const old = new Date(Date.now() - 60_000);
    utimesSync(`${file()}.new`, old, old);
    renameSync(`${file()}.new`, file());
    expect(names()).toStrictEqual(['B']);
  });

  it('is read again after edits of the same size, each within a tick of the clock', () => {
    for (const name of ['B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K']) {
      writeFileSync(file(), manifest(name));
      expect(names()).toStrictEqual([name]);
    }
  });

  it('is read again after an edit that sets the old time of change', async () => {
    const old = new Date(Date.now() - 60_000);
    utimesSync(file(), old, old);
    await settle();
    expect(names()).toStrictEqual(['A']);
    expect(names()).toStrictEqual(['A']);
    writeFileSync(file(), manifest('B'));
    utimesSync(file(), old, old);
    expect(names()).toStrictEqual(['B']);
  });

  it('is read again when a symbolic link on its way leads elsewhere', async () => {
    mkdirSync(join(home.repo, 'one'));
    mkdirSync(join(home.repo, 'two'));
    writeFileSync(join(home.repo, 'one', 'keyrack.yml'), manifest('B'));
    writeFileSync(join(home.repo, 'two', 'keyrack.yml'), manifest('C'));
    rmSync(join(home.repo, '.agent'), { recursive: true });
    symlinkSync('one', join(home.repo, '.agent'));
    await settle();
    for (let n = 0; n < 3; n += 1) expect(names()).toStrictEqual(['B']);
    unlinkSync(join(home.repo, '.agent'));
    symlinkSync('two', join(home.repo, '.agent'));
    expect(names()).toStrictEqual(['C']);
  });

  it('is read again when a file that it extends changes, goes or comes back', async () => {
    writeFileSync(join(home.repo, 'more.yml'), manifest('M'));
    writeFileSync(file(), 'org: acme\nextends:\n  - more.yml\nenv.test:\n  - A\n');
    await settle();
    for (let n = 0; n < 3; n += 1) expect(names()).toStrictEqual(['M', 'A']);
    writeFileSync(join(home.repo, 'more.yml'), manifest('N'));
    expect(names()).toStrictEqual(['N', 'A']);
    rmSync(join(home.repo, 'more.yml'));
    expect(names).toThrow(/more\.yml/);
    writeFileSync(join(home.repo, 'more.yml'), manifest('O'));
    expect(names()).toStrictEqual(['O', 'A']);
  });

  it('is not used once a nearer repository appears', async () => {
    const inner = join(home.repo, 'a', 'b');
    mkdirSync(inner, { recursive: true });
    process.chdir(inner);
    for (let n = 0; n < 3; n += 1) expect(names()).toStrictEqual(['A']);
    mkdirSync(join(home.repo, 'a', '.git'));
    mkdirSync(join(home.repo, 'a', '.agent'));
    writeFileSync(join(home.repo, 'a', '.agent', 'keyrack.yml'), manifest('B'));
    expect(names()).toStrictEqual(['B']);
    rmSync(join(home.repo, 'a', '.git'), { recursive: true });
    expect(names()).toStrictEqual(['A']);
  });

  it('is read once it appears', async () => {
    rmSync(file());
    for (let n = 0; n < 3; n += 1) expect(names).toThrow(/keyrack\.yml/);
    home.manifest(manifest('B'));
    expect(names()).toStrictEqual(['B']);
  });

  it.runIf(isRoot)('is read again when another file is mounted over it', async () => {
    if (!canRun('is read again when another file is mounted over it', 'unshare')) return;
    const other = join(home.base, 'other.yml');
    writeFileSync(other, manifest('B'));
    copyFileSync(other, join(home.base, 'copy.yml'));
    await settle();
    const code = `
      const { execFileSync } = require('node:child_process');
      const { getSync } = require(${entry});
      const names = () => getSync({ for: { repo: true }, env: 'test' }).attempts.map(({ slug }) => slug.split('.')[2]).join();
      const seen = [names(), names()];
      execFileSync('mount', ['--bind', ${JSON.stringify(other)}, ${JSON.stringify(file())}]);
      seen.push(names(), names());
      execFileSync('umount', [${JSON.stringify(file())}]);
      seen.push(names());
      console.log(seen.join(' '));`;
    const { stdout, stderr } = await run('unshare', ['-m', process.execPath, '-e', code], { cwd: home.repo, env: home.env });
    expect(stderr).toBe('');
    expect(stdout).toBe('A A B B A\n');
  });
});
