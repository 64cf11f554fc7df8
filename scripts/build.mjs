#!/usr/bin/env node
// Builds what the platform package of this machine ships and leaves it in npm/<platform>/: bin/keyrack, bin/keyrackd, keyrack.node.
// Needs cargo and node, no npm dependency. `KEYRACK_BUILD_HOST=1` builds the binaries against the host's libc even where musl is installed.

import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { capture, root, run } from './command.mjs';
import { fileURLToPath } from 'node:url';

const ARCHITECTURES = { x86_64: 'x64', aarch64: 'arm64' };

/** What is built for what: the Rust triple of the host, of the binaries, and the platform package's name. */
export function targets() {
  const host = capture('rustc', ['-vV']).match(/^host: (.*)$/m)?.[1] ?? '';
  const [, cpu] = host.match(/^(\w+)-unknown-linux-gnu$/) ?? [];
  const arch = ARCHITECTURES[cpu];
  if (!arch) throw new Error(`keyrack is built on Linux with glibc on x86_64 or aarch64; this Rust is ${host || 'unknown'}`);
  const musl = `${cpu}-unknown-linux-musl`;
  const installed = existsSync(capture('rustc', ['--print', 'target-libdir', '--target', musl]).trim());
  return { host, platform: `linux-${arch}-gnu`, binaries: installed && !process.env.KEYRACK_BUILD_HOST ? musl : host };
}

/** Where cargo leaves things, by cargo's own word. */
function targetDirectory() {
  return JSON.parse(capture('cargo', ['metadata', '--no-deps', '--format-version', '1', '--locked'])).target_directory;
}

/** Puts a file in place by rename: a daemon that runs from the old file keeps it, and no reader ever sees half a file. */
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

export function build() {
  const { host, platform, binaries } = targets();
  if (binaries === host) console.log(`note: the Rust target for static musl binaries is not in use, so keyrack and keyrackd are built for ${host}`);
  run('cargo', ['build', '--release', '--locked', '--target', binaries, '-p', 'keyrack-cli', '-p', 'keyrackd', '--bins']);
  run('cargo', ['build', '--release', '--locked', '--target', host, '-p', 'keyrack-node']);

  const target = targetDirectory();
  const directory = join(root, 'npm', platform);
  const files = {
    'bin/keyrack': [join(target, binaries, 'release', 'keyrack'), 0o755],
    'bin/keyrackd': [join(target, binaries, 'release', 'keyrackd'), 0o755],
    'keyrack.node': [join(target, host, 'release', 'libkeyrack_node.so'), 0o644],
  };
  // Nothing an earlier build left may be shipped by this one.
  const kept = new Set(['package.json', 'README.md', ...Object.keys(files)]);
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    const name = join(entry.parentPath ?? entry.path, entry.name).slice(directory.length + 1);
    if (!entry.isDirectory() && !kept.has(name)) rmSync(join(directory, name));
  }
  for (const [name, [from, mode]] of Object.entries(files)) place(from, join(directory, name), mode);
  console.log(`built npm/${platform}: ${Object.keys(files).join(', ')}`);
  return { directory, binaries };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    build();
  } catch (error) {
    console.error(`build: ${error.message}`);
    process.exitCode = 1;
  }
}
