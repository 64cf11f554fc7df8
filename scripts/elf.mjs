// What a built file says of itself, by readelf (binutils; it reads files of every architecture).

import { capture } from './command.mjs';
import { existsSync, statSync } from 'node:fs';
import { GLIBC_FLOOR, SHIPPED } from './platforms.mjs';
import { join } from 'node:path';

const MACHINES = { x64: 'Advanced Micro Devices X86-64', arm64: 'AArch64' };

const readelf = (file, ...args) => capture('readelf', ['--wide', ...args, file], { env: { ...process.env, LC_ALL: 'C' } });

/** The architecture an ELF file is for, as readelf names it. */
export const machine = (file) => readelf(file, '--file-header').match(/^\s*Machine:\s*(.*)$/m)[1];

/** The libraries it asks the loader for. */
export const needed = (file) => [...readelf(file, '--dynamic').matchAll(/\(NEEDED\)\s+Shared library: \[(.*)\]/g)].map(([, name]) => name);

/** The program interpreter it asks for, `null` for a static one. */
export const interpreter = (file) => readelf(file, '--program-headers').match(/Requesting program interpreter: (.*)\]/)?.[1] ?? null;

/** Orders versions such as `2.9` and `2.28`. */
export function compareVersions(a, b) {
  const [left, right] = [a, b].map((each) => each.split('.').map(Number));
  for (let at = 0; at < Math.max(left.length, right.length); at += 1) {
    const by = (left[at] ?? 0) - (right[at] ?? 0);
    if (by !== 0) return by;
  }
  return 0;
}

/** The newest version of glibc it asks for, such as `2.28`; `null` when for none. */
export function glibcFloor(file) {
  const versions = [...readelf(file, '--version-info').matchAll(/Name: GLIBC_(\d[\d.]*) /g)].map(([, version]) => version);
  return versions.sort(compareVersions).at(-1) ?? null;
}

/** Whether a binary needs nothing of the machine it runs on. */
export const isStatic = (file) => interpreter(file) === null && needed(file).length === 0;

/**
 * Every reason why what was built for a platform may not be shipped. `shared`: binaries that are
 * not static are let through.
 */
export function faults({ name, directory, libc }, { shared = false } = {}) {
  const found = [];
  for (const [file, mode] of Object.entries(SHIPPED)) {
    const path = join(directory, file);
    const report = (what) => found.push(`npm/${name}/${file} ${what}`);
    if (!existsSync(path)) {
      report('is not there');
      continue;
    }
    const has = statSync(path).mode & 0o777;
    if (has !== mode) report(`has mode ${has.toString(8)}, not ${mode.toString(8)}`);
    const arch = machine(path);
    if (arch !== MACHINES[name.split('-')[1]]) report(`is for ${arch}`);
    if (file.startsWith('bin/')) {
      if (!shared && !isStatic(path)) report('is not static');
      continue;
    }
    const floor = glibcFloor(path);
    if (libc === 'gnu' && floor === null) report('is not linked against glibc');
    if (libc === 'gnu' && floor !== null && compareVersions(floor, GLIBC_FLOOR) > 0) report(`needs glibc ${floor}, above the floor of ${GLIBC_FLOOR}`);
    if (libc === 'musl' && (floor !== null || needed(path).join() !== 'libc.so')) report(`is not linked against musl alone: ${needed(path).join(', ')}`);
  }
  return found;
}
