#!/usr/bin/env node
// Fuzzes keyrack's readers: builds fuzz/ with the address sanitizer on the nightly compiler and
// runs each target for a while over a copy of its corpus. Says how many inputs were run and what
// came of them; exits with 1 when an input broke a property.
//
//   npm run fuzz -- --seconds 60 [--target native]... [--jobs 2] [--keep DIR]
//
// `--keep DIR` keeps what was found there: the corpora as they grew, the logs, and each input that
// broke something.

import { copyFileSync, cpSync, createWriteStream, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { capture, root, run } from './command.mjs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { spawn } from 'node:child_process';

const directory = join(root, 'fuzz');
// What the compiler has to put in for libFuzzer to see where an input gets to: its counters, and
// what is compared with what.
const FLAGS = [
  '-Cpasses=sancov-module',
  '-Cllvm-args=-sanitizer-coverage-level=4',
  '-Cllvm-args=-sanitizer-coverage-inline-8bit-counters',
  '-Cllvm-args=-sanitizer-coverage-pc-table',
  '-Cllvm-args=-sanitizer-coverage-trace-compares',
  '-Zsanitizer=address',
  '-Ccodegen-units=1',
];
// A single allocation beyond what any of these readers may take; all of them, with what the
// sanitizer keeps of those freed; an input that takes longer than any may.
const LIMITS = ['-malloc_limit_mb=64', '-rss_limit_mb=2048', '-timeout=20'];
// Longest messages of targets that take more than libFuzzer's default.
const LONGEST = { native: 16384, legacy: 16384, dispatcher: 16384, server: 16384 };

function fail(message) {
  console.error(`fuzz: ${message}`);
  process.exit(2);
}

const targets = readdirSync(join(directory, 'fuzz_targets')).map((file) => file.replace(/\.rs$/, '')).sort();
let options;
try {
  ({ values: options } = parseArgs({
    options: {
      seconds: { type: 'string', default: '60' },
      target: { type: 'string', multiple: true, default: targets },
      jobs: { type: 'string', default: '1' },
      keep: { type: 'string' },
    },
  }));
} catch (error) {
  fail(error.message);
}
for (const name of ['seconds', 'jobs']) {
  if (!/^[1-9][0-9]*$/.test(options[name])) fail(`--${name} takes a whole number from 1`);
}
for (const target of options.target) {
  if (!targets.includes(target)) fail(`no target ${target}; there are ${targets.join(', ')}`);
}

/** Builds the binaries; returns the directory they are in. */
function build() {
  let host;
  try {
    host = capture('rustc', ['+nightly', '-vV']).match(/^host: (.*)$/m)[1];
  } catch {
    fail('it takes a nightly compiler: rustup toolchain install nightly --profile minimal');
  }
  // The versions that are fuzzed are those that are shipped; cargo adds libFuzzer's own.
  copyFileSync(join(root, 'Cargo.lock'), join(directory, 'Cargo.lock'));
  const cargo = ['+nightly', 'build', '--release', '--manifest-path', join(directory, 'Cargo.toml'), '--target', host];
  const env = { ...process.env, RUSTFLAGS: FLAGS.join(' ') };
  run('cargo', [...cargo, ...options.target.flatMap((target) => ['--bin', target])], { env });
  const metadata = capture('cargo', ['metadata', '--no-deps', '--format-version', '1', '--manifest-path', join(directory, 'Cargo.toml')]);
  return join(JSON.parse(metadata).target_directory, host, 'release');
}

/** Runs one target to its end. */
function fuzz(binaries, work, target) {
  const at = (...parts) => join(work, target, ...parts);
  mkdirSync(at('found'), { recursive: true });
  cpSync(join(directory, 'corpus', target), at('corpus'), { recursive: true, force: false });
  const dictionary = join(directory, 'dictionaries', `${target}.dict`);
  const args = [
    at('corpus'),
    `-max_total_time=${options.seconds}`,
    `-artifact_prefix=${at('found')}/`,
    '-print_final_stats=1',
    ...LIMITS,
    ...(LONGEST[target] ? [`-max_len=${LONGEST[target]}`] : []),
    ...(existsSync(dictionary) ? [`-dict=${dictionary}`] : []),
  ];
  const log = createWriteStream(at('log'));
  // Root's own limits would let a leak checker stop other processes of the machine to look at them:
  // our targets hold nothing at their end.
  const env = { ...process.env, RUST_BACKTRACE: '1', ASAN_OPTIONS: 'detect_leaks=0:detect_odr_violation=0' };
  return new Promise((done) => {
    const child = spawn(join(binaries, target), args, { cwd: at(), stdio: ['ignore', 'pipe', 'pipe'], env });
    for (const stream of [child.stdout, child.stderr]) stream.pipe(log, { end: false });
    child.on('error', (error) => fail(error.message));
    child.on('close', (status, signal) => log.end(() => done({ target, status, signal, log: readFileSync(at('log'), 'utf8'), found: at('found') })));
  });
}

/** Says what came of it. True when nothing broke. */
function tell({ target, status, signal, log, found }) {
  const count = log.match(/stat::number_of_executed_units: (\d+)/)?.[1] ?? log.match(/#(\d+)(?=[^#]*$)/)?.[1] ?? '?';
  const coverage = [...log.matchAll(/ cov: (\d+) /g)].at(-1)?.[1] ?? '?';
  const good = status === 0;
  console.log(`${target}: ${count} inputs, ${coverage} edges reached: ${good ? 'ok' : `failed (${signal ?? `exit code ${status}`})`}`);
  if (!good) {
    console.log(log.split('\n').slice(-80).join('\n'));
    console.log(`${target}: what broke it is in ${found}`);
  }
  return good;
}

const binaries = build();
const work = options.keep ? resolve(options.keep) : mkdtempSync(join(tmpdir(), 'keyrack-fuzz-'));
const left = [...options.target];
let good = true;
const jobs = Math.min(Number(options.jobs), availableParallelism(), left.length);
await Promise.all(
  Array.from({ length: jobs }, async () => {
    for (let target = left.shift(); target; target = left.shift()) good = tell(await fuzz(binaries, work, target)) && good;
  }),
);
if (good && !options.keep) rmSync(work, { recursive: true });
process.exitCode = good ? 0 : 1;
