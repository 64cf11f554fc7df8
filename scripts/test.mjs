#!/usr/bin/env node
// Every check of the project, in stages; stops at the first that fails, with its output. `npm test` alone is enough on a fresh clone.
//
// `KEYRACK_TEST_REQUIRE=all` makes a check that lacks something of the machine fail instead of saying `not run:`.
// Arguments name the stages to run (`npm test -- vitest types`); without any, all of them run.

import { existsSync, readFileSync, rmSync, statSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { root } from './command.mjs';

const tool = (name) => join('node_modules', '.bin', name);
const report = (name) => join('node_modules', `.keyrack-${name}.json`);

/** Whether node_modules is missing something or older than the lock file (npm leaves its own lock in there when it is done). */
function mustInstall() {
  const done = join(root, 'node_modules', '.package-lock.json');
  return !existsSync(done) || statSync(done).mtimeMs < statSync(join(root, 'package-lock.json')).mtimeMs;
}

// Each stage: its name, the command, when it is needed, and how its tests are counted.
const stages = [
  { name: 'install', command: ['npm', 'ci', '--ignore-scripts', '--no-audit', '--no-fund'], needed: mustInstall },
  { name: 'build', command: [process.execPath, 'scripts/build.mjs'] },
  { name: 'fmt', command: ['cargo', 'fmt', '--all', '--check'] },
  { name: 'clippy', command: ['cargo', 'clippy', '--locked', '--workspace', '--all-targets', '--', '-D', 'warnings'] },
  // The addon has no tests of its own in Rust: without a Node process around it, it cannot be linked into a test binary.
  {
    name: 'cargo',
    command: ['cargo', 'test', '--locked', '--workspace', '--exclude', 'keyrack-node', '--no-fail-fast', '--', '--show-output'],
    count: countCargo,
  },
  { name: 'vitest', command: [tool('vitest'), 'run', '--config', '__tests__/vitest.config.mjs', '--reporter=default', '--reporter=json', `--outputFile.json=${report('vitest')}`], count: countJson },
  { name: 'jest', command: [tool('jest'), '--config', '__tests__/jest.config.cjs', '--json', `--outputFile=${report('jest')}`], count: countJson },
  { name: 'types', command: [tool('tsc'), '-p', '__tests__/types'] },
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

/** Runs a command and gathers what it prints, both streams in the order they came. */
function gather([program, ...args]) {
  return new Promise((resolve) => {
    const parts = [];
    const child = spawn(program, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, CARGO_TERM_COLOR: 'never', NO_COLOR: '1' } });
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => parts.push(chunk));
    const end = (failure) => resolve({ failure, output: Buffer.concat(parts).toString('utf8') });
    child.on('error', (error) => end(error.code === 'ENOENT' ? `${program} is not on PATH` : error.message));
    child.on('close', (status, signal) => end(status === 0 ? null : signal ? `ended by ${signal}` : `exit code ${status}`));
  });
}

const asked = process.argv.slice(2);
for (const name of asked) {
  if (!stages.some((stage) => stage.name === name)) {
    console.error(`test: no stage ${name}; there are ${stages.map((stage) => stage.name).join(', ')}`);
    process.exit(2);
  }
}

const counts = [];
const notRun = new Set();
const begun = performance.now();
const seconds = (since) => `${((performance.now() - since) / 1000).toFixed(1)} s`;
for (const { name, command, needed, count } of stages) {
  if ((asked.length > 0 && !asked.includes(name)) || (needed && !needed())) continue;
  const start = performance.now();
  rmSync(join(root, report(name)), { force: true });
  process.stdout.write(`${name} …`);
  const { failure, output } = await gather(command);
  process.stdout.write(` ${failure ?? 'ok'}, ${seconds(start)}\n`);
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
console.log(`not run: ${notRun.size} tests, for want of something this machine lacks`);
for (const { name, passed, failed } of counts) console.log(`${name}: ${passed} passed, ${failed} failed`);
const sum = (field) => counts.reduce((total, each) => total + each[field], 0);
console.log(`all stages: ${seconds(begun)}`);
console.log(`${sum('passed')} passed, ${sum('failed')} failed`);
