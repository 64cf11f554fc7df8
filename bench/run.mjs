#!/usr/bin/env node
// Measures what keyrack promises to be fast and small at, each figure beside its floor from the
// same run, and prints the table. Five interleaved pairs of medians; the best of each side counts.
// `KEYRACK_BENCH_QUICK=1` shortens everything to see that it works: its figures mean nothing.

import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { capture, root, run } from '../scripts/command.mjs';
import { build, targetDirectory } from '../scripts/build.mjs';
import { execFile, spawn } from 'node:child_process';
import { host as thisHost } from '../scripts/platforms.mjs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { packAll } from '../scripts/pack.mjs';
import { promisify } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';

const quick = process.env.KEYRACK_BENCH_QUICK === '1';
const PAIRS = quick ? 1 : 5;
const N = quick ? 100 : 3000;
const LOAD_MS = quick ? 200 : 2000;
const CLIENTS = 16;
const SLUG = 'bench.test.KEY_000000';

// A round trip between two processes takes several times as long when the scheduler happens to put
// them on two cores that sleep in between, and it does so for whole runs. So both sides of each
// round trip are pinned to one core, the floor's as well: the comparison is of work, not of luck.
const ONE_CORE = ['/usr/bin/taskset', '/bin/taskset'].filter((path) => existsSync(path)).slice(0, 1).flatMap((path) => [path, '-c', '0']);
let pinned = false;

/** A command, on one core while round trips are measured. */
const onOneCore = (program, args) => {
  const [first, ...rest] = [...(pinned ? ONE_CORE : []), program, ...args];
  return [first, rest];
};

/** Lets a process run on every core again. */
function allowEveryCore({ pid }) {
  if (ONE_CORE.length > 0) capture(ONE_CORE[0], ['-a', '-p', '-c', `0-${availableParallelism() - 1}`, String(pid)]);
}

const exec = promisify(execFile);
const base = mkdtempSync('/tmp/keyrack-bench-');
const bin = (name) => join(platform, 'bin', name);
const children = new Set();
let platform;
let measure;
let floor;

/** Makes a home, a runtime directory and a repository, isolated from the others. */
function environment(name) {
  const at = join(base, name);
  const dirs = { home: join(at, 'home'), runtime: join(at, 'run'), repo: join(at, 'repo') };
  for (const dir of [at, ...Object.values(dirs)]) {
    mkdirSync(dir);
    chmodSync(dir, 0o700);
  }
  return { ...dirs, env: { HOME: dirs.home, XDG_RUNTIME_DIR: dirs.runtime, PATH: process.env.PATH } };
}

/** Starts something that serves until it is ended, and waits until it says so. */
async function serve(program, args, options, isUp) {
  const child = spawn(...onOneCore(program, args), { stdio: ['ignore', 'pipe', 'inherit'], ...options });
  children.add(child);
  const gone = new Promise((_, reject) => child.once('exit', (status) => reject(new Error(`${program} ended with ${status}`))));
  gone.catch(() => {});
  child.stdout.resume();
  const until = Date.now() + 10_000;
  const up = (async () => {
    while (!(await isUp())) {
      if (Date.now() > until) throw new Error(`${program} does not serve`);
      await sleep(5);
    }
  })();
  await Promise.race([up, gone]);
  return child;
}

async function end(child) {
  children.delete(child);
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  const late = setTimeout(() => child.kill('SIGKILL'), 5000);
  await gone;
  clearTimeout(late);
}

/** A number that `measure` prints. */
async function number(where, ...args) {
  const { stdout } = await exec(...onOneCore(measure, args.map(String)), { env: where.env, cwd: where.repo, maxBuffer: 1 << 22 });
  return Number(stdout);
}

/** The socket path of the default owner, as the client makes it. */
function socketPath({ home, runtime }) {
  const session = existsSync('/proc/self/sessionid') ? readFileSync('/proc/self/sessionid', 'utf8').trim() : '4294967295';
  const hash = capture('sha256sum', [], { input: home, stdio: ['pipe', 'pipe', 'inherit'] }).slice(0, 8);
  return join(runtime, `keyrack.${session}.${hash}.sock`);
}

/** The daemon, in the foreground so that its pid is known. */
async function daemon(where) {
  const socket = socketPath(where);
  const child = await serve(bin('keyrackd'), ['--socket', socket], { env: { ...where.env, KEYRACK_LOG: 'off' }, cwd: '/' }, () => existsSync(socket));
  return { child, socket };
}

/**
 * Interleaved pairs of medians; the best of each side counts. Not the pair with the best ratio: a
 * floor that was slow by chance would flatter what is measured. `inverse`: more is better.
 */
async function best(measured, against, { inverse = false } = {}) {
  const choose = inverse ? Math.max : Math.min;
  let floorBest = inverse ? 0 : Infinity;
  let measuredBest = floorBest;
  for (let pair = 0; pair < PAIRS; pair += 1) {
    floorBest = choose(floorBest, await against());
    measuredBest = choose(measuredBest, await measured());
  }
  return { measured: measuredBest, floor: floorBest, ratio: measuredBest / floorBest };
}

const rows = [];
const formatTime = (ns) => (ns >= 1e6 ? `${(ns / 1e6).toFixed(2)} ms` : `${(ns / 1e3).toFixed(1)} µs`);

function addRatioRow(what, { measured, floor: below, ratio }, bar) {
  rows.push({ what, figure: formatTime(measured), floor: formatTime(below), ratio: `${ratio.toFixed(2)} ×`, bar: bar === undefined ? '' : `≤ ${bar} ×`, ok: bar === undefined ? null : ratio <= bar });
}

function addRow(what, figure, bar = '', ok = null) {
  rows.push({ what, figure, floor: '', ratio: '', bar, ok });
}

const residentKb = (pid) => Number(readFileSync(`/proc/${pid}/status`, 'utf8').match(/^VmRSS:\s+(\d+) kB$/m)[1]);

/** Resident memory 2 s after the last request. */
async function resident(name, count, bytes, barMb) {
  const where = environment(name);
  const { child } = await daemon(where);
  await number(where, 'fill', Math.max(count, 0), bytes);
  await sleep(2000);
  const mb = (residentKb(child.pid) * 1024) / 1e6;
  addRow(count === 0 ? 'daemon resident, idle' : `daemon resident, ${count.toLocaleString('en')} keys of ${bytes} bytes`, `${mb.toFixed(2)} MB`, `≤ ${barMb} MB`, mb <= barMb);
  await end(child);
}

/** getSync in a Node of its own: a median, as `measure` would give it. */
async function node(where, input) {
  const { stdout } = await exec(...onOneCore(process.execPath, [join(root, 'bench', 'node.cjs'), JSON.stringify(input), String(N)]), { env: where.env, cwd: where.repo });
  return Number(stdout);
}

/**
 * `require` of what would be published, installed by npm, each time in a Node of its own; the floor
 * is a module that is empty.
 */
async function requiring() {
  const project = join(base, 'project');
  const beside = join(project, 'node_modules', 'empty');
  mkdirSync(project);
  writeFileSync(join(project, 'package.json'), '{ "private": true }');
  const tarballs = packAll(join(base, 'packed'), [thisHost().platform]);
  await exec('npm', ['install', '--ignore-scripts', '--offline', '--no-audit', '--no-fund', ...tarballs], { cwd: project });
  mkdirSync(beside);
  writeFileSync(join(beside, 'package.json'), '{ "name": "empty", "version": "1.0.0" }');
  writeFileSync(join(beside, 'index.js'), '');
  const median = (code) => async () => {
    const times = [];
    for (let index = 0; index < (quick ? 3 : 31); index += 1) {
      const { stdout } = await exec(process.execPath, ['-e', `const start = process.hrtime.bigint(); ${code}; console.log(Number(process.hrtime.bigint() - start))`], { cwd: project });
      times.push(Number(stdout));
    }
    return times.sort((a, b) => a - b)[times.length >> 1];
  };
  const empty = median("require('empty')");
  const loaded = await best(median("require('keyrack')"), empty);
  const row = (what, { measured, floor: below, ratio }) => ({ what, figure: formatTime(measured), floor: formatTime(below), ratio: `${ratio.toFixed(2)} ×`, bar: '', ok: null });
  rows.push({ ...row("require('keyrack'), installed", loaded), bar: '≤ 10 ms', ok: loaded.measured <= 10e6 });
  rows.push(row('  the same, and the addon at the first call', await best(median("require('keyrack').status()"), empty)));
}

/**
 * Measures the throughput of the masker: alone against a copy, and of a whole `run --mask` against
 * two pipes of cat.
 */
async function masking() {
  const anywhere = { env: { PATH: process.env.PATH } };
  const texts = [['log', 10, 500], ['json', 10, 400], ['color', 10, 400], ['base64', 10, 400], ['secrets', 10, 250], ['escaped', 10, 100], ['log', 100, 300]];
  for (const [text, keys, bar] of texts) {
    const rate = await best(() => number(anywhere, 'mask', text, keys), () => number(anywhere, 'copy', text), { inverse: true });
    perSecond(`masking, ${keys} keys, text: ${text}`, rate, bar);
  }
  // A key that repeats itself, on text that repeats its beginning: twice the length may not take
  // much more than the same time for the same text.
  const repeated = (kib) => () => number(anywhere, 'mask', 'repeated', kib);
  const double = await best(repeated(32), repeated(16), { inverse: true });
  perSecond('masking, a key of 16 KiB that repeats itself', { measured: double.floor, floor: double.measured, ratio: double.ratio }, 50);
  rows.push({ what: '  the same, 32 KiB against 16 KiB', figure: `${Math.round(double.measured)} MB/s`, floor: `${Math.round(double.floor)} MB/s`, ratio: `${double.ratio.toFixed(2)} ×`, bar: '≥ 0.91 ×', ok: double.ratio >= 1 / 1.1 });
  const same = await best(() => number(anywhere, 'mask', 'same', 16), () => number(anywhere, 'copy', 'same'), { inverse: true });
  perSecond('masking, a key of 16 KiB of one character', same, 50);
  const where = environment('m');
  const file = join(base, 'text');
  const written = await exec('sh', ['-c', '"$0" text log 10 > "$1"', measure, file], { encoding: 'latin1' });
  const secrets = written.stderr.split('\0');
  const names = secrets.map((_, index) => `MASKED_${index}`);
  writeFileSync(join(where.repo, '.git'), '');
  mkdirSync(join(where.repo, '.agent'));
  writeFileSync(join(where.repo, '.agent', 'keyrack.yml'), `org: bench\nenv.test:\n${names.map((name) => `  - ${name}\n`).join('')}`);
  const env = { ...where.env, ...Object.fromEntries(names.map((name, index) => [name, secrets[index]])) };
  const eight = Array(8).fill(file);
  const timed = async (...command) => {
    const start = process.hrtime.bigint();
    await exec('sh', ['-c', '"$@" | cat > /dev/null', 'sh', ...command], { env, cwd: where.repo });
    return (8 * 64 * 1.048576 * 1e9) / Number(process.hrtime.bigint() - start);
  };
  const run = (...how) => () => timed(bin('keyrack'), 'run', '--env', 'test', ...how, '--', 'cat', ...eight);
  perSecond('keyrack run --mask -- cat, 10 keys', await best(run('--mask'), run(), { inverse: true }), 350);
}

function perSecond(what, { measured, floor: below, ratio }, bar) {
  const figure = (rate) => `${Math.round(rate)} MB/s`;
  rows.push({ what, figure: figure(measured), floor: figure(below), ratio: `${ratio.toFixed(2)} ×`, bar: bar === undefined ? '' : `≥ ${bar} MB/s`, ok: bar === undefined ? null : measured >= bar });
}

async function main() {
  const built = build();
  platform = built.directory;
  // The client that measures is built as what ships is: static, wherever the musl target is
  // installed.
  run('cargo', ['build', '--release', '--locked', '--target', built.binaries, '-p', 'keyrack-bench']);
  measure = join(targetDirectory(), built.binaries, 'release', 'measure');
  floor = join(base, 'floor');
  run('cc', ['-O2', '-o', floor, join(root, 'bench', 'floor.c')]);

  // One key, and the floors beside it.
  const where = environment('a');
  writeFileSync(join(where.repo, '.git'), '');
  mkdirSync(join(where.repo, '.agent'));
  const names = Array.from({ length: 20 }, (_, index) => `  - KEY_${String(index).padStart(6, '0')}\n`);
  writeFileSync(join(where.repo, '.agent', 'keyrack.yml'), `org: bench\nenv.test:\n${names.join('')}`);
  pinned = true;
  const { child, socket } = await daemon(where);
  await number(where, 'fill', 20, 32);

  const replyFile = join(base, 'reply');
  writeFileSync(replyFile, (await exec(measure, ['legacy-reply', socket, SLUG], { env: where.env })).stdout);
  const oneshot = join(base, 'oneshot.sock');
  const c = await serve(floor, ['oneshot', oneshot, replyFile], {}, () => existsSync(oneshot));
  addRatioRow('GET of one key, fresh connection, legacy', await best(() => number(where, 'legacy', socket, SLUG, N), () => number(where, 'legacy', oneshot, SLUG, N)), 2.5);

  const [bytesIn, bytesOut] = (await exec(measure, ['native-bytes', SLUG], { env: where.env })).stdout.trim().split(' ');
  const ping = join(base, 'ping.sock');
  const pong = await serve(floor, ['pingpong', ping, bytesIn, bytesOut], {}, () => existsSync(ping));
  addRatioRow('GET, native, persistent, Rust client', await best(() => number(where, 'native', SLUG, N), () => number(where, 'pingpong', ping, bytesIn, bytesOut, N)), 2);
  await end(pong);

  // Both keep their connection.
  const native = () => number(where, 'native', SLUG, N);
  addRatioRow('getSync in Node by slug, against the native Rust client', await best(() => node(where, { for: { key: SLUG } }), native), 2.5);
  addRatioRow('  the same by name, from a manifest of 20 keys', await best(() => node(where, { for: { key: 'KEY_000000' }, env: 'test' }), native), 2.75);
  addRatioRow('  the same with a whole keyrack.yml of 20 keys read', await best(() => node(where, { for: { repo: true }, env: 'test' }), native));
  addRatioRow('get in Rust, fresh connection, by slug', await best(() => number(where, 'get', SLUG, N), native));

  pinned = false;
  allowEveryCore(child);
  allowEveryCore(c);
  const spawned = (...command) => () => number(where, 'spawn', N, ...command);
  const nothing = spawned('/bin/true');
  addRatioRow('keyrack get --value, whole process', await best(spawned(bin('keyrack'), 'get', '--value', '--key', SLUG), nothing), 3);
  addRatioRow('  the same by name, from a manifest of 20 keys', await best(spawned(bin('keyrack'), 'get', '--value', '--key', 'KEY_000000', '--env', 'test'), nothing));
  addRatioRow('  the same through bin/keyrack', await best(spawned(join(root, 'bin', 'keyrack'), 'get', '--value', '--key', SLUG), nothing));

  const fresh = await best(() => number(where, 'load-fresh', socket, SLUG, CLIENTS, LOAD_MS), () => number(where, 'load-fresh', oneshot, SLUG, CLIENTS, LOAD_MS), { inverse: true });
  rows.push({ what: `requests a second, ${CLIENTS} clients, fresh connections`, figure: `${fresh.measured}`, floor: `${fresh.floor}`, ratio: `${fresh.ratio.toFixed(2)} ×`, bar: '≥ 0.5 ×', ok: fresh.ratio >= 0.5 });
  addRow(`requests a second, ${CLIENTS} clients, persistent connections`, `${await number(where, 'load-native', SLUG, CLIENTS, LOAD_MS)}`);
  await end(c);
  await end(child);

  const starting = environment('b');
  addRatioRow('client asks for a daemon → it is served', await best(() => number(starting, 'start', bin('keyrackd'), N), () => number(starting, 'spawn', N, '/bin/true')), 6);

  pinned = true;
  const many = environment('c');
  const few = environment('d');
  const holders = [await daemon(many), await daemon(few)];
  await number(many, 'fill', quick ? 1000 : 100_000, 32);
  await number(few, 'fill', 10, 32);
  addRatioRow('GET, native, with 100,000 keys of 32 bytes held, against 10', await best(() => number(many, 'native', SLUG, N), () => number(few, 'native', SLUG, N)), 1.3);
  addRatioRow('  the same, legacy, fresh connection', await best(() => number(many, 'legacy', holders[0].socket, SLUG, N), () => number(few, 'legacy', holders[1].socket, SLUG, N)));
  for (const holder of holders) await end(holder.child);

  pinned = false;
  await masking();
  await resident('e', 0, 0, 4);
  await resident('f', 10_000, 200, 12);
  await requiring();
  print();
}

function print() {
  const columns = ['what', 'figure', 'floor', 'ratio', 'bar'];
  const all = [{ what: 'what', figure: 'measured', floor: 'floor', ratio: 'ratio', bar: 'bar', verdict: '' }, ...rows];
  const width = (column) => Math.max(...all.map((row) => row[column].length));
  console.log();
  for (const row of all) {
    const verdict = row.ok === undefined || row.ok === null ? '' : row.ok ? 'met' : 'MISSED';
    console.log([...columns.map((column) => (column === 'what' ? row[column].padEnd(width(column)) : row[column].padStart(width(column)))), verdict].join('  ').trimEnd());
  }
  const missed = rows.filter((row) => row.ok === false).length;
  if (ONE_CORE.length === 0) console.log('\nnote: without taskset, round trips depend on which cores the scheduler chose');
  console.log(`\nmedians of ${N}, best of each side in ${PAIRS} interleaved pairs${quick ? ' (quick: these figures mean nothing)' : ''}; bars missed: ${missed}`);
  if (missed > 0) process.exitCode = 1;
}

async function cleanUp() {
  for (const child of children) await end(child);
  rmSync(base, { recursive: true, force: true });
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, async () => {
    await cleanUp();
    process.exit(130);
  });
}
try {
  await main();
} catch (error) {
  console.error(`bench: ${error.message}`);
  process.exitCode = 1;
} finally {
  await cleanUp();
}
