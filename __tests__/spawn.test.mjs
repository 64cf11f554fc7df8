// How the command is run: by path, without a shell or a terminal, with the secret on stdin, ended
// and reaped when withdrawn. A script that prints its arguments replaces the binary.

import { afterEach, describe, expect, it } from 'vitest';
import { createRequire } from 'node:module';
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { spawn } from 'node:child_process';

const require = createRequire(import.meta.url);
const { copyPackage, isAlive, run, runNode } = require('./helpers/home.cjs');
const { platformName } = require('../lib/platform.js');

const TELL = `#!/bin/sh
input=$(cat)
printf '{"unlocked":[],"omitted":[],"args":['
first=1
for arg in "$@"; do
  [ $first = 1 ] || printf ,
  first=0
  printf '"%s"' "$arg"
done
printf '],"input":"%s","pid":%s,"as":"%s","tty":"%s"}' "$input" $$ "$KEYRACK_INVOKED_AS" "$( (: </dev/tty) 2>/dev/null && echo yes || echo no)"
`;

let copy;
afterEach(() => copy?.remove());
const loadPackage = (script) => {
  copy = copyPackage(script);
  return require(copy.index);
};

describe('the arguments of the command', () => {
  it('of set match its options', async () => {
    const { set, ErasableSecret } = loadPackage(TELL);
    const asked = { key: '--json', vault: 'os.secure', mech: 'PERMANENT_VIA_REPLICA', env: 'test', org: '@this', owner: 'me', prikey: ['a', 'b'], exid: 'x', maxDuration: '1h', at: 'k.yml', allow: { dangerous: true } };
    const told = await set({ ...asked, secret: 's3cret' });
    expect(told.args).toStrictEqual(['set', '--owner=me', '--env=test', '--prikey=a', '--prikey=b', '--key=--json', '--vault=os.secure', '--mech=PERMANENT_VIA_REPLICA', '--org=@this', '--exid=x', '--max-duration=1h', '--at=k.yml', '--allow-dangerous', '--stdin-exact', '--json', '--no-prompt']);
    expect(told).toMatchObject({ input: 's3cret', as: 'npx keyrack', tty: 'no' });
    const bytes = new TextEncoder().encode('bytes');
    expect((await set({ key: 'K', vault: 'v', secret: bytes })).input).toBe('bytes');
    expect(new TextDecoder().decode(bytes)).toBe('bytes');
    expect((await set({ key: 'K', vault: 'v', secret: new ErasableSecret(bytes) })).input).toBe('bytes');
    expect((await set({ key: 'K', vault: 'v' })).input).toBe('');
  });

  it('of unlock and del match their options', async () => {
    const { unlock, del, keyrack } = loadPackage(TELL.replace('"unlocked":[]', '"unlocked":["all"]'));
    expect(await unlock()).toStrictEqual({ unlocked: ['all'], omitted: [] });
    expect((await del({ key: 'K', env: 'test', org: '@all' })).args).toStrictEqual(['del', '--env=test', '--key=K', '--org=@all', '--json', '--no-prompt']);
    expect(keyrack.unlock).toBe(unlock);
  });

  it('a wrong type is a TypeError that names the argument', async () => {
    const { set, unlock, del } = loadPackage(TELL);
    for (const [call, input, named] of [
      [set, undefined, /the argument/],
      [set, { vault: 'v' }, /key/],
      [set, { key: 'K' }, /vault/],
      [set, { key: 'K', vault: 'v', secret: 7 }, /secret/],
      [set, { key: 'K', vault: 'v', prompt: 'maybe' }, /prompt/],
      [set, { key: 'K', vault: 'v', signal: {} }, /signal/],
      [unlock, { duration: 30 }, /duration/],
      [unlock, { prikey: [1] }, /prikey\[0\]/],
      [unlock, { secret: 'x' }, /secret/],
      [del, {}, /key/],
    ]) {
      const error = await call(input).catch((thrown) => thrown);
      expect(error).toBeInstanceOf(TypeError);
      expect(error.message).toMatch(named);
    }
  });
});

describe('an error of the command', () => {
  it('becomes a KeyrackError, with the rest of stderr as its detail', async () => {
    const { unlock, KeyrackError } = loadPackage(`#!/bin/sh
echo 'on the way' >&2
echo '{"error":{"code":"no_identity","exit":2,"message":"no identity opens it","fix":"npx keyrack init","hint":"h"}}' >&2
exit 2`);
    const error = await unlock({ env: 'test' }).catch((thrown) => thrown);
    expect(error).toBeInstanceOf(KeyrackError);
    expect(error).toMatchObject({ code: 'no_identity', exit: 2, message: 'no identity opens it', fix: 'npx keyrack init', detail: 'on the way', metadata: { hint: 'h' } });
  });

  it('an empty secret that was not passed is prompt_needed', async () => {
    const { set } = loadPackage(`#!/bin/sh
echo '{"error":{"code":"empty_secret","exit":2,"message":"the secret is empty"}}' >&2
exit 2`);
    await expect(set({ key: 'K', vault: 'v' })).rejects.toMatchObject({ code: 'prompt_needed', exit: 2 });
    await expect(set({ key: 'K', vault: 'v', secret: '' })).rejects.toMatchObject({ code: 'empty_secret' });
  });

  it('invalid output, a crash and a missing binary have different codes', async () => {
    await expect(loadPackage('#!/bin/sh\necho no json; echo why >&2; exit 7').unlock()).rejects.toMatchObject({ code: 'command_failed', exit: 7, detail: 'why' });
    copy.remove();
    await expect(loadPackage('#!/bin/sh\nkill -9 $$').unlock()).rejects.toMatchObject({ code: 'command_failed', exit: 1 });
    copy.remove();
    await expect(loadPackage('no program at all').unlock()).rejects.toMatchObject({ code: 'command_failed' });
    copy.remove();
    await expect(loadPackage().unlock()).rejects.toMatchObject({ code: 'binding_missing', fix: 'npm run build' });
  });
});

describe('a command that takes too long', () => {
  // Ignores the polite signal, and has a child of its own that does, too.
  const STUBBORN = `#!/bin/sh
trap '' TERM
sh -c 'trap "" TERM; while :; do sleep 0.1; done' &
echo "$$ $!" > "$(dirname "$0")/pids"
while :; do sleep 0.1; done`;

  async function pids() {
    const file = join(copy.base, 'npm');
    const { stdout } = await run('find', [file, '-name', 'pids', '-size', '+0']);
    const found = stdout.trim();
    return found && existsSync(found) ? readFileSync(found, 'utf8').trim().split(' ').map(Number) : null;
  }

  async function started() {
    for (let tries = 0; tries < 200; tries += 1) {
      const found = await pids();
      if (found) return found;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    throw new Error('the command never started');
  }

  it('is aborted by its signal: killed with its children, and reaped', async () => {
    const { unlock } = loadPackage(STUBBORN);
    const control = new AbortController();
    const promise = unlock({ signal: control.signal });
    promise.catch(() => {});
    const [command, child] = await started();
    expect(isAlive(command) && isAlive(child)).toBe(true);
    control.abort(new Error('enough'));
    await expect(promise).rejects.toMatchObject({ code: 'aborted', cause: { message: 'enough' } });
    expect(existsSync(`/proc/${command}`)).toBe(false);
    for (let tries = 0; tries < 100 && isAlive(child); tries += 1) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(isAlive(child)).toBe(false);
  });

  it('is ended at timeoutMs', async () => {
    const { unlock } = loadPackage(STUBBORN);
    const begun = performance.now();
    await expect(unlock({ timeoutMs: 300 })).rejects.toMatchObject({ code: 'timed_out', exit: 1 });
    expect(performance.now() - begun).toBeLessThan(3000);
    const [command] = await pids();
    expect(existsSync(`/proc/${command}`)).toBe(false);
  });

  it('is not started if its signal is aborted already', async () => {
    const { unlock } = loadPackage(STUBBORN);
    await expect(unlock({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'aborted' });
    expect(await pids()).toBeNull();
  });
});

describe('bin/keyrack', () => {
  it('replaces itself: pid, arguments, signals and status are those of the binary', async () => {
    loadPackage('#!/bin/sh\necho $$ "$#" "$1"\nexit 7');
    const child = spawn(copy.shim, ['a b', '']);
    let out = '';
    child.stdout.on('data', (chunk) => (out += chunk));
    const status = await new Promise((resolve) => child.once('close', resolve));
    expect({ out, status }).toStrictEqual({ out: `${child.pid} 2 a b\n`, status: 7 });
    copy.remove();
    loadPackage('#!/bin/sh\nkill -TERM $$');
    const ended = spawn(copy.shim);
    expect(await new Promise((resolve) => ended.once('close', (code, signal) => resolve([code, signal])))).toStrictEqual([null, 'SIGTERM']);
  });

  it('works by its bare name, with the current directory in PATH', async () => {
    loadPackage('#!/bin/sh\necho ran');
    mkdirSync(join(copy.base, '.bin'));
    symlinkSync('../bin/keyrack', join(copy.base, '.bin', 'keyrack'));
    for (const cwd of [join(copy.base, 'bin'), join(copy.base, '.bin')]) {
      expect(await run('/bin/sh', ['keyrack'], { cwd })).toMatchObject({ status: 0, stdout: 'ran\n', stderr: '' });
    }
  });

  it('finds the binary in node_modules, and ignores variables', async () => {
    loadPackage();
    rmSync(join(copy.base, 'npm'), { recursive: true });
    const plant = (directory) => {
      const at = join(directory, '@keyrack', platformName());
      mkdirSync(join(at, 'bin'), { recursive: true });
      writeFileSync(join(at, 'package.json'), '{}');
      writeFileSync(join(at, 'bin', 'keyrack'), '#!/bin/sh\necho planted', { mode: 0o755 });
    };
    const planted = join(copy.base, 'planted');
    plant(planted);
    plant(join(copy.base, '.node_modules'));
    const env = { PATH: process.env.PATH, NODE_PATH: planted, HOME: copy.base };
    const asked = `try { console.log(require(${JSON.stringify(join(copy.base, 'bin/index.js'))}).binaryPath()) } catch ({ code }) { console.log(code) }`;
    expect(await run(copy.shim, [], { env })).toMatchObject({ status: 1, stdout: '' });
    expect((await runNode(asked, { env })).stdout).toBe('binding_missing\n');
    plant(join(copy.base, 'node_modules'));
    expect((await run(copy.shim, [], { env })).stdout).toBe('planted\n');
    expect((await runNode(asked, { env })).stdout).toBe(`${join(copy.base, 'node_modules/@keyrack', platformName(), 'bin/keyrack')}\n`);
  });

  it('names the missing package, in sh and in node', async () => {
    loadPackage();
    for (const [program, ...args] of [[copy.shim], [process.execPath, copy.shim]]) {
      const { status, stderr } = await run(program, args);
      expect(status).toBe(1);
      expect(stderr).toMatch(/npm run build/);
    }
    const { status, stderr } = await run('/bin/sh', [copy.shim], { env: { PATH: '/nowhere' } });
    expect(status).toBe(1);
    expect(stderr).toMatch(/native part/);
  });
});
