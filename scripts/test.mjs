#!/usr/bin/env node
// Every check of the project, in stages, the cheap ones first; stops at the first that fails and
// prints its output. `npm test` alone is enough on a fresh clone.
//
// `KEYRACK_TEST_REQUIRE=all` makes a check that lacks something of the machine fail instead of
// printing `not run:`. Arguments name the stages to run (`npm test -- vitest types`); without any,
// all of them run.

import { existsSync, readFileSync, rmSync, statSync } from 'node:fs';
import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { root } from './command.mjs';
import { targets } from './build.mjs';

const tool = (name) => join('node_modules', '.bin', name);
const report = (name) => join('node_modules', `.keyrack-${name}.json`);
const { binaries: target, static: isStatic } = targets();

// Everything but the addon is checked and tested for the target that ships: what is true of the
// host's libc may be false of musl.
const cargo = (command, ...args) => ['cargo', command, '--locked', '--target', target, ...args];
// The addon has no Rust tests of its own: without a Node process around it, it cannot be linked
// into a test binary.
const withoutAddon = ['--workspace', '--exclude', 'keyrack-node'];

// A build that is thrown away has no use for what makes the next one faster.
const environment = { ...process.env, CARGO_TERM_COLOR: 'never', NO_COLOR: '1', ...(process.env.CI ? { CARGO_INCREMENTAL: '0' } : {}) };

const hasSpelling = !spawnSync('typos', ['--version']).error;

/**
 * Returns true if node_modules lacks something or is older than the lock file. npm leaves its own
 * lock in there when it is done.
 */
function mustInstall() {
  const done = join(root, 'node_modules', '.package-lock.json');
  return !existsSync(done) || statSync(done).mtimeMs < statSync(join(root, 'package-lock.json')).mtimeMs;
}

// Each stage: its name, the command, when it is needed, and how its tests are counted.
const stages = [
  { name: 'install', command: ['npm', 'ci', '--ignore-scripts', '--no-audit', '--no-fund'], needed: mustInstall },
  { name: 'lock', command: ['cargo', 'metadata', '--locked', '--format-version', '1', '--filter-platform', target], quiet: true },
  { name: 'fmt', command: ['cargo', 'fmt', '--all', '--check'] },
  { name: 'types', command: [tool('tsc'), '-p', '__tests__/types'] },
  { name: 'spelling', command: ['typos', '--format', 'brief'], needed: () => hasSpelling },
  // What the sources, documents and dependencies must never have in them.
  { name: 'rules', command: cargo('test', '-p', 'keyrack-testkit', '--', '--show-output') },
  // The addon too: it cannot be linked for this target, but it can be checked.
  { name: 'clippy', command: cargo('clippy', '--workspace', '--all-targets', '--', '-D', 'warnings') },
  { name: 'build', command: [process.execPath, 'scripts/build.mjs'] },
  { name: 'cargo', command: cargo('test', ...withoutAddon, '--no-fail-fast', '--', '--show-output'), count: countCargo },
  { name: 'vitest', command: [tool('vitest'), 'run', '--config', '__tests__/vitest.config.mjs', '--reporter=default', '--reporter=json', `--outputFile.json=${report('vitest')}`], count: countJson },
  { name: 'jest', command: [tool('jest'), '--config', '__tests__/jest.config.cjs', '--json', `--outputFile=${report('jest')}`], count: countJson },
  { name: 'doc', command: cargo('doc', ...withoutAddon, '--no-deps', '--document-private-items'), env: { RUSTDOCFLAGS: '-D warnings -A rustdoc::private-intra-doc-links' } },
];

function countCargo(output) {
  const total = { passed: 0, failed: 0 };
  for (const [, passed, failed] of output.matchAll(/^test result: .*? (\d+) passed; (\d+) failed;/gm)) {
    total.passed += Number(passed);
    total.failed += Number(failed);
  }
  return total;
}

function countJson(_, name) {
  const file = join(root, report(name));
  if (!existsSync(file)) return { passed: 0, failed: 0 };
  const { numPassedTests, numFailedTests } = JSON.parse(readFileSync(file, 'utf8'));
  return { passed: numPassedTests, failed: numFailedTests };
}

const seconds = (since) => `${((performance.now() - since) / 1000).toFixed(1)} s`;

/**
 * Prints how far a stage is: on a terminal in one line that is rewritten, elsewhere in a line of
 * its own every half minute.
 */
function progress(name) {
  const start = performance.now();
  const { isTTY, columns = 80 } = process.stdout;
  let last = '';
  const width = Math.max(20, columns - 1);
  const line = () => `${name} … ${seconds(start)}${last === '' ? '' : `: ${last}`}`.slice(0, width);
  const timer = setInterval(() => process.stdout.write(isTTY ? `\r\x1b[K${line()}` : `${line()}\n`), isTTY ? 500 : 30_000);
  if (isTTY) process.stdout.write(line());
  return {
    /** Takes a chunk of output; its last line that says something is shown. */
    saw(chunk) {
      // Only names of crates and tests: what a failed test prints belongs in the full output.
      const found = chunk.toString('utf8').match(/^(?: *(?:Compiling|Checking|Documenting|Running|Finished) .*|test \S+ \.\.\. \w+| [✓❯] .*|PASS .*)$/gm);
      // eslint-disable-next-line no-control-regex
      if (found) last = found.at(-1).trim().replace(/[\x00-\x1f\x7f]/g, '');
    },
    end(text) {
      clearInterval(timer);
      process.stdout.write(`${isTTY ? '\r\x1b[K' : ''}${name}: ${text}, ${seconds(start)}\n`);
    },
  };
}

/** Runs a command and gathers what it prints, both streams in the order they came. */
function gather([program, ...args], { env, quiet }, shown) {
  return new Promise((resolve) => {
    const parts = [];
    const child = spawn(program, args, { cwd: root, stdio: ['ignore', quiet ? 'ignore' : 'pipe', 'pipe'], env: { ...environment, ...env } });
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk) => {
        parts.push(chunk);
        shown.saw(chunk);
      });
    }
    const end = (failure) => resolve({ failure, output: Buffer.concat(parts).toString('utf8') });
    child.on('error', (error) => end(error.code === 'ENOENT' ? `${program} is not on PATH` : error.message));
    child.on('close', (status, signal) => end(status === 0 ? null : signal ? `ended by ${signal}` : `exit code ${status}`));
  });
}

const asked = process.argv.slice(2);
for (const name of asked) {
  if (!stages.some((stage) => stage.name === name)) {
    console.error(`test: unknown stage "${name}"; expected ${stages.map((stage) => stage.name).join(', ')}`);
    process.exit(2);
  }
}

const counts = [];
const notRun = new Set();
const lacking = [];
if (!isStatic) lacking.push('not run: tests of static binaries: needs the Rust target for musl (or KEYRACK_BUILD_HOST unset)');
if (!hasSpelling) lacking.push('not run: spelling: needs typos (pip install typos)');
for (const line of lacking) notRun.add(line);
if (lacking.length > 0 && process.env.KEYRACK_TEST_REQUIRE === 'all') {
  for (const line of lacking) console.log(line);
  console.log(`0 passed, ${lacking.length} failed`);
  process.exit(1);
}
const begun = performance.now();
for (const stage of stages) {
  const { name, command, needed, count } = stage;
  if ((asked.length > 0 && !asked.includes(name)) || (needed && !needed())) continue;
  rmSync(join(root, report(name)), { force: true });
  const shown = progress(name);
  const { failure, output } = await gather(command, stage, shown);
  shown.end(failure ?? 'ok');
  for (const [line] of output.matchAll(/^not run: .*$/gm)) notRun.add(line);
  if (count) counts.push({ name, ...count(output, name) });
  if (failure) {
    console.log(output);
    console.log(`failed: ${name}: ${failure} (${command.join(' ')})`);
    process.exitCode = 1;
    break;
  }
}

for (const line of notRun) console.log(line);
console.log(`not run: ${notRun.size} tests that need something this machine lacks`);
for (const { name, passed, failed } of counts) console.log(`${name}: ${passed} passed, ${failed} failed`);
const sum = (field) => counts.reduce((total, each) => total + each[field], 0);
console.log(`all stages: ${seconds(begun)}`);
console.log(`${sum('passed')} passed, ${sum('failed')} failed`);
