#!/usr/bin/env node
// Builds what the platform package of this machine ships and leaves it in npm/<platform>/:
// bin/keyrack, bin/keyrackd, keyrack.node, and build.json, the record of what was built. Tests and
// benchmarks read that record (`builtHere`) instead of asking the toolchain. Needs cargo and node,
// no npm dependency. `KEYRACK_BUILD_HOST=1` builds the binaries against the host's libc even where
// musl is installed.
//
//   npm run build -- --target linux-arm64-musl     another platform, by name; may be repeated
//   npm run build -- --all                         every platform
//
// Another architecture is linked by Debian's cross compiler for it (gcc-aarch64-linux-gnu,
// gcc-x86-64-linux-gnu), and needs Rust's target (rustup target add …). Anything but this machine's
// own platform is built with static binaries or not at all.

import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { capture, root, run } from './command.mjs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { host, PLATFORMS, platform as named, SHIPPED } from './platforms.mjs';
import { parseArgs } from 'node:util';

/** Name of the record of a build, in the platform package's directory. Never packed. */
const RECORD = 'build.json';

/** Directory of a Rust target's own libraries, whether they are installed or not. */
const libraries = (triple) => capture('rustc', ['--print', 'target-libdir', '--target', triple]).trim();

/**
 * Returns the Rust targets of a build on this machine: `host`, and `binaries` for everything but
 * the addon. The latter is the static musl target where it is installed, else the host's.
 */
export function targets() {
  const { triple, platform } = host();
  const musl = existsSync(libraries(platform.binaries)) && !process.env.KEYRACK_BUILD_HOST;
  return { host: triple, platform: platform.name, binaries: musl ? platform.binaries : triple, static: musl };
}

/**
 * Returns the record of the last build for this machine: `platform`, the Rust targets `binaries`
 * and `addon`, and `static`, which is true if the binaries need no libc of the machine. Throws if
 * there was no build.
 */
export function builtHere() {
  const { platform } = host();
  const file = join(platform.directory, RECORD);
  if (!existsSync(file)) throw new Error(`${file} is missing: run npm run build`);
  return JSON.parse(readFileSync(file, 'utf8'));
}

/** Returns cargo's target directory. */
export function targetDirectory() {
  return JSON.parse(capture('cargo', ['metadata', '--no-deps', '--format-version', '1', '--locked'])).target_directory;
}

/**
 * Puts a file in place by rename: a daemon that runs from the old file keeps it, and no reader ever
 * sees half a file.
 */
function place(from, to, mode) {
  mkdirSync(dirname(to), { recursive: true });
  const beside = `${to}.new-${process.pid}`;
  try {
    copyFileSync(from, beside);
    chmodSync(beside, mode);
    renameSync(beside, to);
  } finally {
    rmSync(beside, { force: true });
  }
}

/** The environment in which cargo links for a triple. */
function linking(triple, linker, flags = []) {
  const variable = (what) => `CARGO_TARGET_${triple.toUpperCase().replaceAll('-', '_')}_${what}`;
  const env = { ...process.env };
  if (linker) env[variable('LINKER')] = linker;
  // These take the place of whatever the caller has set: what is shipped is built in one way.
  if (flags.length > 0) {
    for (const name of ['RUSTFLAGS', 'CARGO_ENCODED_RUSTFLAGS']) delete env[name];
    env[variable('RUSTFLAGS')] = flags.join(' ');
  }
  return env;
}

/**
 * How an addon for musl is linked, without a musl on the building machine: against an empty library
 * of libc's name, for a shared object may leave its symbols to the loader; and Rust's own unwinder,
 * so that Alpine's libgcc is not needed.
 */
function muslFlags(directory, triple, compiler) {
  const libc = join(directory, 'libc.so');
  mkdirSync(directory, { recursive: true });
  run(compiler, ['-shared', '-nostdlib', '-Wl,-soname,libc.so', '-o', libc, '-x', 'c', '/dev/null']);
  writeFileSync(join(directory, 'libgcc_s.so'), `INPUT(${join(libraries(triple), 'self-contained', 'libunwind.a')})\n`);
  return ['-C', 'target-feature=-crt-static', '-L', `native=${directory}`, '-C', `link-arg=-Wl,--no-as-needed,${libc}`];
}

/** Builds one platform; `binaries` is the triple of its binaries. */
function buildPlatform(platform, binaries, { triple }) {
  const { name, directory, addon, libc, cross, hosted } = platform;
  for (const each of [binaries, addon]) {
    if (!existsSync(libraries(each))) throw new Error(`${name} needs Rust's target: rustup target add ${each}`);
  }
  const linker = hosted === triple ? null : cross;
  const target = targetDirectory();
  const cargo = ['build', '--release', '--locked'];
  run('cargo', [...cargo, '--target', binaries, '-p', 'keyrack-cli', '-p', 'keyrackd', '--bins'], { env: linking(binaries, linker) });

  // An addon for musl is a shared object, and needs what it depends on compiled for that: kept
  // apart from what the static binaries are made of.
  const into = libc === 'musl' ? join(target, 'shared') : target;
  const flags = libc === 'musl' ? muslFlags(join(into, addon, 'lib'), addon, linker ?? 'cc') : [];
  const env = linking(addon, libc === 'musl' ? (linker ?? 'cc') : linker, flags);
  run('cargo', [...cargo, '--target', addon, '-p', 'keyrack-node', '--target-dir', into], { env });

  const files = {
    'bin/keyrack': join(target, binaries, 'release', 'keyrack'),
    'bin/keyrackd': join(target, binaries, 'release', 'keyrackd'),
    'keyrack.node': join(into, addon, 'release', 'libkeyrack_node.so'),
  };
  // Nothing an earlier build left may be shipped by this one.
  const kept = new Set(['package.json', 'README.md', ...Object.keys(files)]);
  // The record is written last, so an interrupted build leaves none.
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    const file = join(entry.parentPath ?? entry.path, entry.name).slice(directory.length + 1);
    if (!entry.isDirectory() && !kept.has(file)) rmSync(join(directory, file));
  }
  for (const [file, from] of Object.entries(files)) place(from, join(directory, file), SHIPPED[file]);
  const record = { platform: name, binaries, addon, static: binaries.endsWith('-musl') };
  writeFileSync(join(directory, RECORD), `${JSON.stringify(record)}\n`);
  console.log(`built npm/${name}: ${Object.keys(files).join(', ')}`);
}

/** Builds this machine's platform. */
export function build() {
  const here = host();
  const { binaries } = targets();
  if (binaries === here.triple) console.log(`note: the Rust target for static musl binaries is not in use, so keyrack and keyrackd are built for ${binaries}`);
  buildPlatform(here.platform, binaries, here);
  return { directory: here.platform.directory, binaries };
}

function main() {
  const { values } = parseArgs({ options: { target: { type: 'string', multiple: true, default: [] }, all: { type: 'boolean', default: false } } });
  const asked = values.all ? PLATFORMS : values.target.map(named);
  if (asked.length === 0) build();
  for (const each of asked) buildPlatform(each, each.binaries, host());
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    main();
  } catch (error) {
    console.error(`build: ${error.message}`);
    process.exitCode = 1;
  }
}
