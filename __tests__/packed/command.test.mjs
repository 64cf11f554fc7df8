// The installed command, as a shell runs it: it is the binary itself that runs, with its own pid,
// signals, status and terminal.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { makeConsumer } from './consumer.mjs';
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { spawn } from 'node:child_process';

const require = createRequire(import.meta.url);
const { canRun } = require('../helpers/home.cjs');

// Waits for a secret: on standard input until that ends, at a terminal until it is typed.
const SET = ['set', '--key', 'TYPED', '--env', 'test', '--vault', 'os.secure', '--mech', 'PERMANENT_VIA_REPLICA'];

const until = async (what, test) => {
  const end = Date.now() + 15_000;
  for (;;) {
    const found = await test();
    if (found) return found;
    if (Date.now() > end) throw new Error(`never came: ${what()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
};

const link = (pid, name) => {
  try {
    return readlinkSync(`/proc/${pid}/${name}`);
  } catch {
    return '';
  }
};
const program = (pid) => link(pid, 'exe');

describe.each(['npm', 'pnpm', 'yarn'])('installed by %s', (manager) => {
  let consumer;
  let path;
  let binary;
  beforeAll(async () => {
    consumer = makeConsumer(manager);
    await consumer.install();
    await consumer.unlockKey('s3cret');
    binary = (await consumer.node('where.cjs', "console.log(require('keyrack/bin').binaryPath())")).trim();
    // Under Plug'n'Play there is no directory of commands: it is the file of the package, with node
    // told of the map as yarn does it.
    path = join(consumer.directory, 'node_modules/.bin/keyrack');
    if (manager === 'yarn') {
      path = (await consumer.node('command.cjs', "console.log(require.resolve('keyrack/package.json').replace('package.json', 'bin/keyrack'))")).trim();
      consumer.env.NODE_OPTIONS = `--require ${join(consumer.directory, '.pnp.cjs')}`;
    }
  });
  afterAll(() => consumer?.end());

  /** The processes of this project that run what `is` says. */
  const running = (is) => readdirSync('/proc').filter((each) => /^\d+$/.test(each) && is(program(each)) && link(each, 'cwd') === consumer.directory);
  const ours = () => running((file) => file === binary);
  /**
   * Both programs of the job are there, and no copy of the shell that has yet to become one: it
   * would ignore the signals.
   */
  const both = () => ours().length === 1 && running((file) => /\/(cat|coreutils|busybox)$/.test(file)).length === 1;

  /** The command, waiting for its input. */
  async function waiting() {
    const child = spawn(path, SET, { cwd: consumer.directory, env: consumer.env, stdio: ['pipe', 'ignore', 'inherit'] });
    const ended = new Promise((resolve) => child.once('exit', (status, signal) => resolve({ status, signal })));
    child.stdin.on('error', () => {});
    await until(() => `${program(child.pid)}, not ${binary}`, () => program(child.pid) === binary);
    return { child, ended };
  }

  it('is the binary, in the process that was started', async () => {
    const { child, ended } = await waiting();
    child.stdin.end('by hand');
    expect(await ended).toStrictEqual({ status: 0, signal: null });
  });

  it.each(['SIGTERM', 'SIGKILL', 'SIGHUP'])('ends by %s as the binary does', async (signal) => {
    const { child, ended } = await waiting();
    child.kill(signal);
    expect(await ended).toStrictEqual({ status: null, signal });
  });

  it.each([[['get', '--key', 'TOKEN', '--env', 'test'], 0], [['get', '--key', 'NEVER', '--env', 'test'], 2], [['no-such-command'], 2], [['--version'], 0]])('%j exits with %i, started through the package manager too', async (args, status) => {
    expect(await consumer.run([path, ...args])).toMatchObject({ status, signal: null });
    expect(await consumer.keyrack(args)).toMatchObject({ status, signal: null });
  });

  it('takes arguments as they are', async () => {
    for (const word of ['a b', "it's", '$HOME', '*', 'a\\b', '"']) {
      const { stderr, stdout } = await consumer.run([path, 'get', '--key', `acme.test.${word}`, '--json']);
      expect([word, stdout + stderr]).toStrictEqual([word, expect.stringContaining(JSON.stringify(word).slice(1, -1))]);
    }
  });

  it.each(['itself', 'through the package manager'])('is stopped, continued and interrupted from the terminal, %s', async (how) => {
    const words = (how === 'itself' ? [path] : consumer.words.keyrack).join(' ');
    if (!canRun(`is stopped, continued and interrupted from the terminal (${manager})`, 'script') || !canRun('job control', 'bash')) return;
    const shell = spawn('script', ['-qec', 'bash --norc --noprofile -i', '/dev/null'], { cwd: consumer.directory, env: { ...consumer.env, PS1: 'ready> ', TERM: 'dumb' } });
    let shown = '';
    shell.stdout.setEncoding('utf8').on('data', (text) => (shown += text));
    const gone = new Promise((resolve) => shell.once('close', resolve));
    const sees = async (what) => {
      await until(() => `${what} in ${JSON.stringify(shown)}`, () => shown.match(what));
      shown = '';
    };
    try {
      await sees(/ready> $/);
      // At a prompt the terminal sends no signals: here it reads what another program of its job is
      // typed.
      shell.stdin.write(`cat | ${words} ${SET.join(' ')}\r`);
      await until(() => `${binary} running`, both);
      const [pid] = ours();
      shell.stdin.write('\x1a');
      await sees(/Stopped[\s\S]*ready> $/);
      expect(readFileSync(`/proc/${pid}/stat`, 'utf8')).toContain(') T ');
      shell.stdin.write('fg\r');
      await until(() => 'continued', () => !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') T '));
      shell.stdin.write('typed by hand\r\x04');
      await sees(/ready> $/);
      shell.stdin.write('echo "status $?"\r');
      await sees(/status 0\r\n/);

      shell.stdin.write(`cat | ${words} ${SET.join(' ')}\r`);
      await until(() => `${binary} running`, both);
      shell.stdin.write('\x03');
      await sees(/ready> $/);
      shell.stdin.write('echo "status $?"\r');
      await sees(/status 130\r\n/);
      expect(ours()).toStrictEqual([]);
    } finally {
      shell.stdin.end('exit\r');
      const late = setTimeout(() => shell.kill('SIGKILL'), 5000);
      await gone;
      clearTimeout(late);
    }
    await consumer.keyrack(['unlock', '--env', 'test']);
    expect(await consumer.keyrack(['get', '--key', 'TYPED', '--env', 'test', '--value'])).toMatchObject({ stdout: 'typed by hand' });
  });
});
