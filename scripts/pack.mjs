#!/usr/bin/env node
// Packs what would be published, as tarballs that any package manager installs: the root package,
// and the platform packages that are built.
//
//   npm run pack:local -- --out DIR                               this machine's platform npm run
//   pack:local -- --out DIR --target linux-x64-musl       platforms by name; may be repeated npm
//   run pack:local -- --out DIR --all                         every platform … --static
//   only with static binaries, as a release is … --repository https://github.com/OWNER/NAME
//   says in the manifests where it was built; provenance asks for it
//
// What is packed is a copy: the optional dependencies of the root package are written into that,
// never into the checkout.

import { chmodSync, copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { capture, root } from './command.mjs';
import { join, resolve } from 'node:path';
import { faults, isStatic } from './elf.mjs';
import { fileURLToPath } from 'node:url';
import { host, PLATFORMS, platform as named, SHIPPED } from './platforms.mjs';
import { notices } from './licenses.mjs';
import { parseArgs } from 'node:util';
import { tmpdir } from 'node:os';

/** What a checkout's manifest says that an installed package has no use for. */
const OWN = ['private', 'scripts', 'devDependencies', 'overrides'];

const read = (...parts) => JSON.parse(readFileSync(join(...parts), 'utf8'));

/** The manifest as it is published. */
function published(manifest, repository) {
  const copy = { ...manifest, ...(repository ? { repository: { type: 'git', url: `git+${repository}.git` } } : {}) };
  for (const field of OWN) delete copy[field];
  return copy;
}

function write(directory, manifest) {
  writeFileSync(join(directory, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
}

/**
 * Lays out the root package. What its manifest names has to be there; the manual pages are the
 * command's own, which has to have been built for this machine.
 */
export function stageRoot(directory, repository) {
  const manifest = published(read(root, 'package.json'), repository);
  for (const name of manifest.files) cpSync(join(root, name), join(directory, name), { recursive: true });
  capture(join(host().platform.directory, 'bin', 'keyrack'), ['man', '--dir', join(directory, 'man')]);
  manifest.files = [...manifest.files, 'man/'];
  manifest.man = readdirSync(join(directory, 'man')).sort().map((page) => `./man/${page}`);
  manifest.optionalDependencies = Object.fromEntries(PLATFORMS.map(({ name }) => [`@keyrack/${name}`, manifest.version]));
  write(directory, manifest);
  return manifest;
}

/** Lays out a platform package, which must have been built. */
export function stagePlatform(directory, platform, version, { repository, static: onlyStatic }) {
  const wrong = faults(platform, { shared: !onlyStatic });
  if (wrong.length > 0) throw new Error(`${wrong.join('; ')} (npm run build -- --target ${platform.name})`);
  const manifest = published(read(platform.directory, 'package.json'), repository);
  manifest.files = [...manifest.files, 'THIRD-PARTY.txt'];
  if (!isStatic(join(platform.directory, 'bin', 'keyrackd'))) console.error(`note: the binaries of @keyrack/${platform.name} use the libc of this machine`);
  if (manifest.version !== version) throw new Error(`@keyrack/${platform.name} is of version ${manifest.version}, keyrack of ${version}`);
  mkdirSync(join(directory, 'bin'), { recursive: true });
  for (const [name, mode] of Object.entries(SHIPPED)) {
    copyFileSync(join(platform.directory, name), join(directory, name));
    chmodSync(join(directory, name), mode);
  }
  copyFileSync(join(platform.directory, 'README.md'), join(directory, 'README.md'));
  copyFileSync(join(root, 'LICENSE'), join(directory, 'LICENSE'));
  writeFileSync(join(directory, 'THIRD-PARTY.txt'), notices([platform.binaries, platform.addon]));
  write(directory, manifest);
  return manifest;
}

/** What a tarball holds, as tar itself lists it: name → mode. */
export function contents(tarball) {
  const bits = (text) => [...text].reduce((sum, bit, at) => sum | (bit === '-' ? 0 : 0o400 >> at), 0);
  const list = {};
  for (const line of capture('tar', ['--list', '--verbose', '--gzip', '--file', tarball]).trim().split('\n')) {
    const [, kind, mode, name] = /^(.)(\S{9}) +\S+ +\d+ +\S+ +\S+ package\/(.*)$/.exec(line) ?? [];
    if (kind !== '-') throw new Error(`${tarball} holds something that is no plain file: ${line}`);
    list[name] = bits(mode);
  }
  return list;
}

/** Packs a staged directory. Returns the tarball's path in `out`. */
function pack(directory, out) {
  const [{ filename }] = JSON.parse(capture('npm', ['pack', '--json', '--ignore-scripts', '--loglevel=error'], { cwd: directory }));
  const file = filename.replace(/^@/, '').replace('/', '-');
  const to = join(out, file);
  copyFileSync(join(directory, file), `${to}.new`);
  renameSync(`${to}.new`, to);
  return to;
}

/** Fails unless a tarball holds exactly what it should, executable where it should be. */
function mustHold(tarball, expected) {
  const packed = contents(tarball);
  const wrong = [
    ...Object.keys(expected).filter((name) => !(name in packed)).map((name) => `${name} is missing`),
    ...Object.keys(packed).filter((name) => !(name in expected)).map((name) => `${name} does not belong there`),
    ...Object.keys(packed).filter((name) => name in expected && packed[name] !== expected[name]).map((name) => `${name} has mode ${packed[name].toString(8)}`),
  ];
  if (wrong.length > 0) throw new Error(`${tarball}: ${wrong.join('; ')}`);
}

/**
 * The files that the root package ships, with the modes they are to have: of the checkout only what
 * git knows, and the manual.
 */
function rootFiles(manifest) {
  const pages = manifest.man.map((page) => page.slice(2));
  const tracked = capture('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard', '--', ...manifest.files]).split('\0').filter(Boolean);
  const commands = new Set(Object.values(manifest.bin));
  return Object.fromEntries(['package.json', ...tracked, ...pages].map((name) => [name, commands.has(name) ? 0o755 : 0o644]));
}

/**
 * Packs the root package and the given platforms into `out`. Returns the tarballs, the root's
 * first.
 */
export function packAll(out, platforms, options = {}) {
  mkdirSync(out, { recursive: true });
  const work = mkdtempSync(join(tmpdir(), 'keyrack-pack-'));
  const stage = (name) => {
    const directory = join(work, name);
    mkdirSync(directory);
    return directory;
  };
  try {
    const main = stage('keyrack');
    const manifest = stageRoot(main, options.repository);
    const tarballs = [pack(main, out)];
    mustHold(tarballs[0], rootFiles(manifest));
    for (const platform of platforms) {
      const directory = stage(platform.name);
      stagePlatform(directory, platform, manifest.version, options);
      const tarball = pack(directory, out);
      mustHold(tarball, { 'package.json': 0o644, 'README.md': 0o644, LICENSE: 0o644, 'THIRD-PARTY.txt': 0o644, ...SHIPPED });
      tarballs.push(tarball);
    }
    return tarballs;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function main() {
  const { values } = parseArgs({
    options: { out: { type: 'string' }, target: { type: 'string', multiple: true, default: [] }, all: { type: 'boolean', default: false }, repository: { type: 'string' }, static: { type: 'boolean', default: false } },
  });
  if (!values.out) throw new Error('it takes --out DIR');
  const platforms = values.all ? PLATFORMS : values.target.length > 0 ? values.target.map(named) : [host().platform];
  for (const tarball of packAll(resolve(values.out), platforms, values)) console.log(tarball);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    main();
  } catch (error) {
    console.error(`pack: ${error.message}`);
    process.exitCode = 1;
  }
}
