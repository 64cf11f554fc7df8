// The drive and the kernels of the virtual machines: made once from Debian's archive, then taken
// from a cache that is keyed by what they are made of.

import { createHash } from 'node:crypto';
import { appendFileSync, chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const script = (name) => readFileSync(join(here, name), 'utf8');

const BASE = {
  mirror: 'http://deb.debian.org/debian',
  suite: 'bookworm',
  keyring: '/usr/share/keyrings/debian-archive-keyring.gpg',
  packages: [
    'at', 'busybox-static', 'cron', 'dbus', 'dbus-user-session', 'kmod', 'libpam-systemd', 'openssh-client', 'openssh-server', 'procps', 'sudo', 'systemd-sysv',
    'tmux', 'udev', 'util-linux-extra',
  ],
  megabytes: 768,
  // Checksums of metadata would need one more module in the initrd of each kernel.
  features: '^metadata_csum',
};

/**
 * Modules that the initrd loads, each with what it depends on. Those that a kernel has built in, or
 * does not have, are left out.
 */
const MODULES = ['crc32c_generic', 'virtio_pci', 'virtio_blk', 'ext4', 'autofs4'];

/** Programs that make the drive and boot it, and the Debian package of each. */
const BUILD_PROGRAMS = { mmdebstrap: 'mmdebstrap', 'apt-get': 'apt', 'dpkg-deb': 'dpkg', mke2fs: 'e2fsprogs', depmod: 'kmod', modprobe: 'kmod', cpio: 'cpio', xz: 'xz-utils', zstd: 'zstd', tar: 'tar' };
const BUILD_FILES = { [BASE.keyring]: 'debian-archive-keyring' };

/** The archive, or the way to it, does not answer. Says nothing about keyrack. */
export class UnreachableError extends Error {}

/** Key of a cached thing: everything it is made of. */
export function recipeHash(...parts) {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 12);
}

const baseKey = () => recipeHash(BASE, script('root.sh'));
const kernelKey = (kernel) => recipeHash(kernel, MODULES, script('initrd.sh'));

/** Returns the programs and files that are missing, as the Debian packages that have them. */
export function missingPackages(programs, files = {}) {
  const path = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin'];
  const lacks = Object.entries(programs).filter(([name]) => !path.some((directory) => directory && existsSync(join(directory, name)))).map(([, debian]) => debian);
  for (const [file, debian] of Object.entries(files)) if (!existsSync(file)) lacks.push(debian);
  return [...new Set(lacks)].sort();
}

/**
 * One build: a directory that takes the place of the finished one at the end, and a log of every
 * command.
 */
class Build {
  constructor(final, log) {
    this.final = final;
    this.log = log;
    mkdirSync(dirname(final), { recursive: true });
    mkdirSync(dirname(log), { recursive: true });
    this.directory = mkdtempSync(`${final}.new-`);
    chmodSync(this.directory, 0o755);
  }

  path(...names) {
    return join(this.directory, ...names);
  }

  /**
   * Runs a program and returns what it prints on stdout; its stderr goes to the log. Throws when it
   * fails.
   */
  run(program, args, options = {}) {
    appendFileSync(this.log, `$ ${program} ${args.join(' ')}\n`);
    const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin`, LC_ALL: 'C.UTF-8', DEBIAN_FRONTEND: 'noninteractive' };
    const { status, signal, error, stdout, stderr } = spawnSync(program, args, { env, timeout: 900_000, maxBuffer: 1 << 28, ...options });
    if (error) throw new Error(`cannot run ${program}: ${error.message}`);
    appendFileSync(this.log, stderr);
    if (status !== 0) {
      const said = stderr.toString('utf8');
      const message = `${program} ${signal ? `ended by ${signal}` : `failed with exit code ${status}`}: ${said.trim().split('\n').slice(-3).join('; ')} (all of it: ${this.log})`;
      throw new (isUnreachable(said) ? UnreachableError : Error)(message);
    }
    return stdout;
  }

  /** Moves what was built into its place. */
  finish() {
    rmSync(this.final, { recursive: true, force: true });
    renameSync(this.directory, this.final);
  }

  discard() {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Returns `true` if apt or mmdebstrap failed because an archive could not be fetched from. */
export function isUnreachable(stderr) {
  return /Failed to fetch|Could not resolve|Temporary failure resolving|Could not connect|Unable to connect|Connection (?:failed|timed out|refused)|Some index files failed to download/i.test(stderr);
}

/** Makes one thing of the cache unless it is there, and removes what an older recipe left. */
function cached(cache, kind, key, files, make) {
  const final = join(cache, `${kind}-${key}`);
  if (!files.every((file) => existsSync(join(final, file)))) {
    const build = new Build(final, join(cache, 'logs', `build-${kind}.log`));
    try {
      make(build);
      build.finish();
    } finally {
      build.discard();
    }
    for (const entry of readdirSync(cache)) {
      if (entry.startsWith(`${kind}-`) && !entry.startsWith(`${kind}-${key}`)) rmSync(join(cache, entry), { recursive: true, force: true });
    }
  }
  return final;
}

/** Removes the drive and these kernels from the cache. */
export function discardImages(cache, kernels) {
  if (!existsSync(cache)) return;
  const kinds = ['base', ...kernels.map(({ name }) => `kernel-${name}`)];
  for (const entry of readdirSync(cache)) {
    if (kinds.some((kind) => entry.startsWith(`${kind}-`))) rmSync(join(cache, entry), { recursive: true, force: true });
  }
}

/** Returns `true` if the drive and this kernel are in the cache. */
export function isBuilt(cache, kernel) {
  return existsSync(join(cache, `base-${baseKey()}`, 'root.img')) && existsSync(join(cache, `kernel-${kernel.name}-${kernelKey(kernel)}`, 'initrd'));
}

/** Packages that a build needs and this machine lacks. */
export const missingForBuild = () => missingPackages(BUILD_PROGRAMS, BUILD_FILES);

/** Returns the path of the root drive and of a static busybox, made if need be. Needs root. */
export function ensureBase(cache, progress) {
  const directory = cached(cache, 'base', baseKey(), ['root.img', 'busybox'], (build) => {
    progress(`making the root drive from Debian ${BASE.suite}`);
    const root = build.path('root');
    build.run('mmdebstrap', [
      '--mode=root', '--variant=minbase', '--format=directory', '--aptopt=Acquire::Languages "none"', '--aptopt=Acquire::Retries "3"',
      `--include=${BASE.packages.join(',')}`, `--customize-hook=chroot "$1" /bin/sh < '${join(here, 'root.sh')}'`, BASE.suite, root,
      `deb [signed-by=${BASE.keyring}] ${BASE.mirror} ${BASE.suite} main`,
    ]);
    copyFileSync(join(root, 'bin', 'busybox'), build.path('busybox'));
    build.run('mke2fs', ['-q', '-t', 'ext4', '-O', BASE.features, '-d', root, build.path('root.img'), `${BASE.megabytes}M`]);
    build.run('rm', ['-rf', '--one-file-system', root]);
  });
  return { drive: join(directory, 'root.img'), busybox: join(directory, 'busybox') };
}

/**
 * Downloads packages of one suite with an apt that knows nothing but that suite, and unpacks them.
 */
function fetchPackages(build, { mirror, suite, component, keyring }, choose) {
  const state = build.path(`apt-${suite}`);
  mkdirSync(join(state, 'lists', 'partial'), { recursive: true });
  mkdirSync(join(state, 'cache', 'archives', 'partial'), { recursive: true });
  writeFileSync(join(state, 'status'), '');
  writeFileSync(join(state, 'sources.list'), `deb [arch=amd64 signed-by=${keyring}] ${mirror} ${suite} ${component}\n`);
  const options = Object.entries({
    'Dir::Etc::SourceList': join(state, 'sources.list'), 'Dir::Etc::SourceParts': '/dev/null', 'Dir::Etc::Preferences': '/dev/null', 'Dir::Etc::PreferencesParts': '/dev/null',
    'Dir::State': state, 'Dir::State::Lists': join(state, 'lists'), 'Dir::State::status': join(state, 'status'), 'Dir::Cache': join(state, 'cache'),
    'APT::Architecture': 'amd64', 'APT::Sandbox::User': 'root', 'APT::Update::Error-Mode': 'any', 'Acquire::Languages': 'none', 'Acquire::Retries': '3',
    'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled': 'false',
  }).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  build.run('apt-get', [...options, '-q', 'update']);
  const names = choose((name) => build.run('apt-cache', [...options, 'depends', '--recurse', '--no-recommends', '--no-suggests', '--no-conflicts', '--no-breaks', '--no-replaces', '--no-enhances', name]).toString('utf8'));
  const unpacked = build.path(`unpacked-${suite}`);
  mkdirSync(unpacked);
  build.run('apt-get', [...options, '-q', 'download', ...names], { cwd: state });
  const archives = readdirSync(state).filter((name) => name.endsWith('.deb'));
  for (const archive of archives) build.run('dpkg-deb', ['-x', join(state, archive), unpacked]);
  rmSync(state, { recursive: true });
  return { unpacked, archives };
}

/**
 * Returns the version of the sources that a package was built from: 6.1.176 of
 * `linux-image-6.1.0-50-amd64_6.1.176-1_amd64.deb`.
 */
export function sourceVersion(archive) {
  return /_([0-9]+(?:\.[0-9]+)+)/.exec(archive)?.[1] ?? archive;
}

/**
 * Returns the packages of a kernel among the lines of `apt-cache depends --recurse`: the kernel
 * itself and its modules, without the meta packages.
 */
export function kernelPackages(depends) {
  const names = depends.split('\n').filter((line) => /^linux-(?:image|binary|modules)-[0-9]/.test(line));
  return [...new Set(names)];
}

/** Writes a module without its compression, which busybox cannot undo. */
function unpackModule(build, from, to) {
  const tool = from.endsWith('.xz') ? 'xz' : from.endsWith('.zst') ? 'zstd' : null;
  if (tool) writeFileSync(to, build.run(tool, ['-dc', from]));
  else copyFileSync(from, to);
}

/**
 * Returns the kernel and its initrd, made if need be, its release as `uname -r` has it, and the
 * version of its sources. Needs root.
 */
export function ensureKernel(cache, kernel, busybox, progress) {
  const directory = cached(cache, `kernel-${kernel.name}`, kernelKey(kernel), ['vmlinuz', 'initrd', 'release'], (build) => {
    progress(`making kernel ${kernel.name} from ${kernel.package} of ${kernel.suite}`);
    let { keyring } = kernel;
    if (!existsSync(keyring) && kernel.keyringFrom) {
      keyring = join(fetchPackages(build, kernel.keyringFrom, () => [kernel.keyringFrom.package]).unpacked, keyring);
    }
    const { unpacked, archives } = fetchPackages(build, { ...kernel, keyring }, (depends) => {
      const names = kernelPackages(depends(kernel.package));
      if (names.length === 0) throw new Error(`${kernel.package} of ${kernel.suite} depends on no kernel`);
      return names;
    });
    const lib = ['lib', 'usr/lib'].map((name) => join(unpacked, name)).find((name) => existsSync(join(name, 'modules')));
    if (!existsSync(join(unpacked, 'lib'))) symlinkSync('usr/lib', join(unpacked, 'lib'));
    const [release] = readdirSync(join(lib, 'modules'));
    const images = [join(unpacked, 'boot', `vmlinuz-${release}`), join(lib, 'modules', release, 'vmlinuz')];
    copyFileSync(images.find((file) => existsSync(file)), build.path('vmlinuz'));

    const initrd = build.path('root');
    for (const name of ['bin', 'modules', 'dev', 'proc', 'sys', 'root']) mkdirSync(join(initrd, name), { recursive: true });
    copyFileSync(busybox, join(initrd, 'bin', 'busybox'));
    writeFileSync(join(initrd, 'init'), script('initrd.sh'));
    for (const file of ['bin/busybox', 'init']) chmodSync(join(initrd, file), 0o755);
    build.run('depmod', ['-b', unpacked, release]);
    const order = [];
    for (const module of MODULES) {
      for (const file of moduleFiles(build, unpacked, release, module)) {
        const name = file.replace(/^.*\//, '').replace(/\.(?:xz|zst|gz)$/, '');
        if (order.includes(name)) continue;
        unpackModule(build, file, join(initrd, 'modules', name));
        order.push(name);
      }
    }
    writeFileSync(join(initrd, 'modules', 'order'), order.map((name) => `${name}\n`).join(''));
    const list = build.run('find', ['.'], { cwd: initrd });
    writeFileSync(build.path('initrd'), build.run('cpio', ['--quiet', '-o', '-H', 'newc', '-R', '0:0'], { cwd: initrd, input: list }));
    writeFileSync(build.path('release'), JSON.stringify({ release, version: sourceVersion(archives[0]) }));
    for (const entry of readdirSync(build.directory)) if (statSync(build.path(entry)).isDirectory()) build.run('rm', ['-rf', '--one-file-system', build.path(entry)]);
  });
  return { vmlinuz: join(directory, 'vmlinuz'), initrd: join(directory, 'initrd'), ...JSON.parse(readFileSync(join(directory, 'release'), 'utf8')) };
}

/**
 * Returns the files of a module and of what it depends on, in the order of loading; none where the
 * kernel has it built in or lacks it.
 */
function moduleFiles(build, base, release, module) {
  let shown;
  try {
    shown = build.run('modprobe', ['-d', base, '-S', release, '--show-depends', module]).toString('utf8');
  } catch {
    return [];
  }
  return [...shown.matchAll(/^insmod (\S+)/gm)].map(([, file]) => file);
}
