#!/usr/bin/env node
// Tries the release binaries on real kernels: boots Debian with systemd under qemu (without KVM) on
// each kernel, and runs scenarios in it.
//
//   npm run test:vm                                        every scenario on every kernel npm run
//   test:vm -- --kernel 6.12 --scenario session    some of them; both may be repeated npm run
//   test:vm -- --list                              what there is npm run test:vm -- --rebuild
//   with today's packages: what was made before is used until its recipe changes
//
// Needs the binaries of `npm run build`, an x86-64 machine, and of Debian: qemu-system-x86 seabios;
// the first time, root, the network and mmdebstrap e2fsprogs cpio kmod xz-utils zstd
// debian-archive-keyring. What was made is kept in target/vm (KEYRACK_VM_CACHE chooses another
// directory). With KEYRACK_TEST_REQUIRE=all it is a failure that Debian's archive cannot be
// reached.

import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { root, run } from './command.mjs';
import { discardImages, ensureBase, ensureKernel, isBuilt, missingForBuild, missingPackages, UnreachableError } from './vm/image.mjs';
import { kernelNamed, KERNELS } from './vm/kernels.mjs';
import { boot, killMachines, MACHINE_FILES, MACHINE_PROGRAMS, STOP } from './vm/machine.mjs';
import { Report, tables } from './vm/report.mjs';
import { groupByMachine, readScenarios, reasonNotRun } from './vm/scenario.mjs';

const files = join(dirname(fileURLToPath(import.meta.url)), 'vm');
const cache = process.env.KEYRACK_VM_CACHE || join(process.env.CARGO_TARGET_DIR || join(root, 'target'), 'vm');
const OPTIONS = {
  kernel: { type: 'string', multiple: true, default: [] },
  scenario: { type: 'string', multiple: true, default: [] },
  bin: { type: 'string', default: process.env.KEYRACK_TEST_BIN || join(root, 'npm', 'linux-x64-gnu', 'bin') },
  list: { type: 'boolean', default: false },
  rebuild: { type: 'boolean', default: false },
};
/** A boot takes 20 s on an idle machine and over a minute on a busy one. */
const BOOT_SECONDS = 240;

/** What was asked for, in words that say what is wrong with it. */
class UsageError extends Error {}

/** Directories of machines that run, with a copy of a drive in some. */
const temporary = new Set();

function removeTemporary(directory) {
  temporary.delete(directory);
  rmSync(directory, { recursive: true, force: true });
}

const begun = performance.now();
const progress = (text) => console.log(`${String(Math.round((performance.now() - begun) / 1000)).padStart(5)} s  ${text}`);

function parseOptions() {
  try {
    const { values } = parseArgs({ options: OPTIONS });
    const scenarios = readScenarios(join(files, 'scenarios'));
    const unknown = values.scenario.find((name) => !scenarios.some((each) => each.name === name));
    if (unknown) throw new Error(`unknown scenario "${unknown}": use ${scenarios.map(({ name }) => name).join(', ')}`);
    return {
      ...values,
      kernels: values.kernel.length > 0 ? values.kernel.map(kernelNamed) : KERNELS,
      scenarios: scenarios.filter(({ name }) => values.scenario.length === 0 || values.scenario.includes(name)),
    };
  } catch (error) {
    throw new UsageError(error.message);
  }
}

/** Fails unless everything that the run needs is on this machine. */
function requireMachine({ kernels, bin }) {
  if (process.platform !== 'linux' || process.arch !== 'x64') throw new UsageError('only an x86-64 Linux machine can run these machines');
  for (const name of ['keyrack', 'keyrackd']) {
    if (!existsSync(join(bin, name))) throw new UsageError(`cannot find ${join(bin, name)}\nfix: npm run build`);
  }
  const lacks = missingPackages(MACHINE_PROGRAMS, MACHINE_FILES);
  if (!kernels.every((kernel) => isBuilt(cache, kernel))) {
    lacks.push(...missingForBuild());
    if (process.getuid() !== 0) throw new UsageError(`making the machines' drives in ${cache} needs root\nhint: run it once as root; afterwards any user can run the machines`);
  }
  if (lacks.length > 0) throw new UsageError(`programs are missing\nfix: apt-get install ${[...new Set(lacks)].sort().join(' ')}`);
}

/** Packs what the machine needs into a drive that it reads as a tar archive. */
function packShare(directory, bin, scenarios) {
  const stage = join(directory, 'stage');
  for (const name of ['guest', 'scenarios']) cpSync(join(files, name), join(stage, name), { recursive: true });
  mkdirSync(join(stage, 'bin'));
  for (const name of ['keyrack', 'keyrackd']) copyFileSync(join(bin, name), join(stage, 'bin', name));
  writeFileSync(join(stage, 'plan'), scenarios.map(({ name, seconds }) => `${name} ${seconds}\n`).join(''));
  const share = join(directory, 'share.tar');
  run('tar', ['-C', stage, '--owner=0', '--group=0', '-cf', share, '.']);
  return share;
}

/**
 * Boots one machine for scenarios that share it, again for as long as they ask for that, and takes
 * in what it reports.
 */
async function runGroup({ scenarios, kernel, base, bin, report }) {
  const directory = mkdtempSync(join(tmpdir(), 'keyrack-vm-'));
  temporary.add(directory);
  const names = scenarios.map(({ name }) => name);
  const log = join(cache, 'logs', `${kernel.name}-${names[0]}.log`);
  try {
    const { memory, swap } = scenarios[0].machine;
    const append = [...scenarios[0].machine.append];
    const drives = [base.drive, packShare(directory, bin, scenarios)];
    if (swap > 0) {
      // A hibernated machine resumes with the drives it had.
      drives[0] = join(directory, 'root.img');
      run('cp', ['--sparse=always', base.drive, drives[0]]);
      drives.push(join(directory, 'swap.img'));
      writeFileSync(drives[2], '');
      truncateSync(drives[2], swap * 1024 * 1024);
      append.push('resume=/dev/vdc', 'hibernate=nocompress');
    }
    for (const file of [log, `${log}.console`]) rmSync(file, { force: true });
    progress(`${kernel.version}: ${names.join(', ')}`);
    const seconds = BOOT_SECONDS + scenarios.reduce((sum, each) => sum + each.seconds + 30, 0);
    const machine = { kernel, drives, memory, append, keep: swap > 0, directory, log, seconds };
    let again = true;
    let done = false;
    let ended;
    for (let boots = 0; again && boots < 3; boots += 1) {
      again = false;
      ended = await boot(machine, (line) => {
        const result = report.add(line);
        if (result?.kind === 'host' && result.text === 'boot again') again = true;
        if (result?.kind === 'all done') done = true;
        if (result?.kind === 'booted') progress('  booted');
        if (result?.kind === 'booted' && boots > 0) {
          again = false;
          return STOP;
        }
        if (['ok', 'failed', 'not run'].includes(result?.kind)) {
          const word = { ok: 'ok     ', failed: 'FAILED ', 'not run': 'not run' }[result.kind];
          progress(`  ${word} ${report.current ?? 'setup'}: ${result.check}${result.detail ? `: ${result.detail}` : ''}`);
        }
      });
    }
    const missed = names.filter((name) => !report.ended.has(name));
    if (!done || missed.length > 0) {
      const why = { timeout: `the machine did not finish within ${seconds} s`, off: 'the machine stopped early', stopped: 'the machine booted instead of resuming' }[ended] ?? ended;
      for (const name of missed) {
        report.record(name, 'failed', 'the scenario ends', `${why}; see ${log} and ${log}.console`);
        progress(`  FAILED  ${name}: ${why}`);
      }
    }
  } finally {
    removeTemporary(directory);
  }
}

async function runKernel(kernel, base, { scenarios, bin }) {
  const report = new Report(kernel.version);
  const runnable = [];
  for (const scenario of scenarios) {
    const reason = reasonNotRun(scenario, kernel.release);
    if (reason) report.record(scenario.name, 'not run', 'the scenario', reason);
    else runnable.push(scenario);
  }
  for (const group of groupByMachine(runnable)) await runGroup({ scenarios: group, kernel, base, bin, report });
  return report;
}

function printList(scenarios) {
  console.log('kernels:');
  for (const { name, suite } of KERNELS) console.log(`  ${name.padEnd(14)} ${suite}${isBuilt(cache, kernelNamed(name)) ? ', made' : ''}`);
  console.log('scenarios:');
  for (const { name, description, linux } of scenarios) console.log(`  ${name.padEnd(14)} ${description}${linux ? ` (needs Linux ${linux})` : ''}`);
}

async function main() {
  const options = parseOptions();
  if (options.list) return printList(options.scenarios);
  if (options.rebuild) discardImages(cache, options.kernels);
  requireMachine(options);
  const reports = [];
  const notRun = [];
  for (const asked of options.kernels) {
    try {
      const base = ensureBase(cache, progress);
      const kernel = { name: asked.name, ...ensureKernel(cache, asked, base.busybox, progress) };
      reports.push(await runKernel(kernel, base, options));
    } catch (error) {
      if (!(error instanceof UnreachableError)) throw error;
      notRun.push(`not run: kernel ${asked.name}: ${error.message}`);
    }
  }
  if (reports.length > 0) console.log(`\n${tables(reports, options.scenarios)}\n`);
  for (const report of reports) {
    for (const { kind, scenario, check, detail } of report.checks) {
      if (kind === 'failed') console.log(`FAILED: ${report.kernel}: ${scenario}: ${check}${detail ? `: ${detail}` : ''}`);
      if (kind === 'not run') notRun.push(`not run: ${report.kernel}: ${scenario}: ${check}: ${detail}`);
    }
  }
  for (const line of notRun) console.log(line);
  const sum = (kind) => reports.reduce((total, report) => total + report.count(kind), 0);
  console.log(`output of each machine: ${join(cache, 'logs')}`);
  console.log(`${sum('ok')} passed, ${sum('failed')} failed`);
  const required = process.env.KEYRACK_TEST_REQUIRE === 'all' && reports.length < options.kernels.length;
  if (sum('failed') > 0 || required) process.exitCode = 1;
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => process.exit(130));
}
process.on('exit', () => {
  killMachines();
  for (const directory of temporary) removeTemporary(directory);
});
try {
  await main();
} catch (error) {
  console.error(`test:vm: ${error instanceof UsageError ? error.message : (error.stack ?? error)}`);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
