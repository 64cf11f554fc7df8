'use strict';
// A home of a test file's own, the daemon of it, and keys in that daemon. Whatever was started is
// ended by its pid.

const { spawn } = require('node:child_process');
const crypto = require('node:crypto');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { platformDirectory, platformName, root } = require('../../lib/platform.js');

const bin = (name) => path.join(platformDirectory(platformName()), 'bin', name);

/** This login session's number, as the socket's name has it. */
function sessionId() {
  try {
    return fs.readFileSync('/proc/self/sessionid', 'utf8').trim();
  } catch {
    return '4294967295';
  }
}

/**
 * A fresh home, runtime directory and repository, all private; a short path, for a socket's may
 * have 107 bytes.
 */
function makeHome() {
  const base = fs.mkdtempSync('/tmp/kn-');
  const home = { base, home: path.join(base, 'home'), runtime: path.join(base, 'run'), repo: path.join(base, 'home', 'repo') };
  for (const dir of [home.home, home.runtime, home.repo, path.join(home.repo, '.git'), path.join(home.repo, '.agent')]) {
    fs.mkdirSync(dir);
    fs.chmodSync(dir, 0o700);
  }
  const hash = crypto.createHash('sha256').update(fs.realpathSync(home.home)).digest('hex').slice(0, 8);
  home.socket = path.join(home.runtime, `keyrack.${sessionId()}.${hash}.sock`);
  home.env = { PATH: process.env.PATH, HOME: home.home, XDG_RUNTIME_DIR: home.runtime };
  home.manifest = (text) => fs.writeFileSync(path.join(home.repo, '.agent', 'keyrack.yml'), text);
  home.remove = () => fs.rmSync(base, { recursive: true, force: true });
  return home;
}

/**
 * Starts the daemon of a home in the foreground and waits until it listens. `stop()` ends and reaps
 * it.
 */
async function startDaemon(home, env = {}) {
  const child = spawn(bin('keyrackd'), ['--socket', home.socket], { env: { ...home.env, ...env }, cwd: '/', stdio: ['ignore', 'ignore', 'pipe'] });
  let words = '';
  child.stderr.on('data', (chunk) => (words += chunk));
  const gone = new Promise((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal)));
  const until = Date.now() + 10_000;
  while (!(await listens(home.socket))) {
    if (child.exitCode !== null || Date.now() > until) throw new Error(`keyrackd does not serve: ${words}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return {
    pid: child.pid,
    kill: (signal) => child.kill(signal),
    async stop() {
      child.kill('SIGCONT');
      child.kill('SIGTERM');
      const late = setTimeout(() => child.kill('SIGKILL'), 5000);
      await gone;
      clearTimeout(late);
    },
  };
}

function listens(socket) {
  return new Promise((resolve) => {
    const connection = net.connect(socket);
    connection.once('connect', () => (connection.destroy(), resolve(true)));
    connection.once('error', () => resolve(false));
  });
}

/** One request as today's TypeScript clients send it. */
function legacy(socket, command, payload) {
  return new Promise((resolve, reject) => {
    const connection = net.connect(socket, () => connection.write(JSON.stringify({ command, payload })));
    const parts = [];
    connection.on('data', (part) => parts.push(part));
    connection.once('error', reject);
    connection.once('close', () => {
      const reply = JSON.parse(Buffer.concat(parts).toString('utf8'));
      if (reply.success) resolve(reply.data);
      else reject(new Error(reply.error));
    });
  });
}

/** Puts keys into the daemon: slug → secret, for ten minutes. */
async function hold(home, keys, { grade = { protection: 'encrypted', duration: 'permanent' } } = {}) {
  const grants = Object.entries(keys).map(([slug, secret]) => {
    const [org, env] = slug.split('.');
    const source = { vault: 'os.secure', mech: 'PERMANENT_VIA_REPLICA' };
    return { slug, key: { secret, grade }, source, env, org, expiresAt: new Date(Date.now() + 600_000).toISOString() };
  });
  await legacy(home.socket, 'UNLOCK', { keys: grants });
}

/** Runs a program to its end: `{ status, signal, stdout, stderr, ms }`. Killed after 20 s. */
function run(program, args, { input, ...options } = {}) {
  return new Promise((resolve, reject) => {
    const begun = performance.now();
    const child = spawn(program, args, { timeout: 20_000, killSignal: 'SIGKILL', ...options });
    const out = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr']) child[name].setEncoding('utf8').on('data', (text) => (out[name] += text));
    child.stdin.on('error', () => {});
    child.stdin.end(input ?? '');
    child.once('error', reject);
    child.once('close', (status, signal) => resolve({ status, signal, ...out, ms: performance.now() - begun }));
  });
}

/** Runs a piece of JavaScript in a node of its own. */
const runNode = (code, options, args = ['-e', code]) => run(process.execPath, args, options);

/**
 * A copy of the package in a directory of its own, laid out as a checkout whose native part is just
 * the shell script `binary` in place of the command, or nothing at all.
 */
function copyPackage(binary) {
  const base = fs.mkdtempSync('/tmp/kn-');
  for (const name of ['index.js', 'index.mjs', 'package.json', 'lib', 'bin']) fs.cpSync(path.join(root, name), path.join(base, name), { recursive: true });
  const native = path.join(base, 'npm', platformName());
  fs.mkdirSync(path.join(native, 'bin'), { recursive: true });
  const command = path.join(native, 'bin', 'keyrack');
  if (binary !== undefined) fs.writeFileSync(command, binary, { mode: 0o755 });
  return { base, command, index: path.join(base, 'index.js'), shim: path.join(base, 'bin', 'keyrack'), remove: () => fs.rmSync(base, { recursive: true, force: true }) };
}

/**
 * Returns `true` if a test can run here. If not, prints why, or throws under
 * KEYRACK_TEST_REQUIRE=all.
 */
function canRun(test, program) {
  const there = (process.env.PATH ?? '').split(':').some((dir) => fs.existsSync(path.join(dir, program)));
  if (there) return true;
  const line = `not run: ${test}: needs the program \`${program}\``;
  if (process.env.KEYRACK_TEST_REQUIRE === 'all') throw new Error(line);
  process.stderr.write(`${line}\n`);
  return false;
}

/** Returns `true` if a process exists and is not a zombie. */
function isAlive(pid) {
  try {
    return !/^State:\s+Z/m.test(fs.readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

module.exports = { bin, canRun, copyPackage, hold, isAlive, legacy, makeHome, root, run, runNode, startDaemon };
