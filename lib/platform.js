'use strict';
// The platform package that this process needs, and its location. Determined by the running node,
// never by a variable that names a file.

const fs = require('node:fs');
const path = require('node:path');

const root = path.dirname(__dirname);

/** The platforms keyrack is built for. */
const SUPPORTED = ['linux-x64-gnu', 'linux-x64-musl', 'linux-arm64-gnu', 'linux-arm64-musl'];

/**
 * The program interpreter an ELF file asks for (ELF-64, `PT_INTERP`; elf(5)), `null` for a static
 * one or when it cannot be told. It is what decides which libc an addon meets, and reading it costs
 * one small read, where `process.report` looks names up in the network.
 */
function interpreter(file) {
  let fd;
  try {
    fd = fs.openSync(file, 'r');
    const head = Buffer.alloc(4096);
    const length = fs.readSync(fd, head, 0, head.length, 0);
    if (length < 64 || head.readUInt32BE(0) !== 0x7f454c46 || head[4] !== 2 || head[5] !== 1) return null;
    const table = Number(head.readBigUInt64LE(32));
    const size = head.readUInt16LE(54);
    const count = head.readUInt16LE(56);
    for (let index = 0; index < count; index += 1) {
      const at = table + index * size;
      if (at + 40 > length) return null;
      if (head.readUInt32LE(at) !== 3) continue;
      const text = Buffer.alloc(Math.min(Number(head.readBigUInt64LE(at + 32)), 256));
      fs.readSync(fd, text, 0, text.length, Number(head.readBigUInt64LE(at + 8)));
      return text.toString('latin1').replace(/\0.*$/s, '');
    }
    return null;
  } catch {
    return null;
  } finally {
    if (fd !== undefined) fs.closeSync(fd);
  }
}

/**
 * Returns the name of this process's platform, such as `linux-x64-gnu`, even if keyrack is not
 * built for it.
 */
function platformName() {
  if (process.platform !== 'linux') return `${process.platform}-${process.arch}`;
  const loader = interpreter(process.execPath);
  return `linux-${process.arch}-${loader !== null && /ld-musl/.test(loader) ? 'musl' : 'gnu'}`;
}

/** Returns `true` if a file is there. Node 20 throws for one that its permission model hides. */
function isThere(file) {
  try {
    return fs.existsSync(file);
  } catch {
    return false;
  }
}

/**
 * Never called. Programs that copy what a server needs (nft, so Next.js and Vercel) find files by
 * calls like these, with literal paths, and find none where a path is made at run time. Bundlers,
 * which would try to bundle what a literal `require` names, leave them alone.
 */
const traced = () => [
  fs.existsSync(path.join(__dirname, '../../@keyrack/linux-x64-gnu/package.json')),
  fs.existsSync(path.join(__dirname, '../../@keyrack/linux-x64-gnu/keyrack.node')),
  fs.existsSync(path.join(__dirname, '../../@keyrack/linux-x64-gnu/bin/keyrack')),
  fs.existsSync(path.join(__dirname, '../../@keyrack/linux-x64-gnu/bin/keyrackd')),
  fs.existsSync(path.join(__dirname, '../../@keyrack/linux-x64-musl/package.json')),
  fs.existsSync(path.join(__dirname, '../../@keyrack/linux-x64-musl/keyrack.node')),
  fs.existsSync(path.join(__dirname, '../../@keyrack/linux-x64-musl/bin/keyrack')),
  fs.existsSync(path.join(__dirname, '../../@keyrack/linux-x64-musl/bin/keyrackd')),
  fs.existsSync(path.join(__dirname, '../../@keyrack/linux-arm64-gnu/package.json')),
  fs.existsSync(path.join(__dirname, '../../@keyrack/linux-arm64-gnu/keyrack.node')),
  fs.existsSync(path.join(__dirname, '../../@keyrack/linux-arm64-gnu/bin/keyrack')),
  fs.existsSync(path.join(__dirname, '../../@keyrack/linux-arm64-gnu/bin/keyrackd')),
  fs.existsSync(path.join(__dirname, '../../@keyrack/linux-arm64-musl/package.json')),
  fs.existsSync(path.join(__dirname, '../../@keyrack/linux-arm64-musl/keyrack.node')),
  fs.existsSync(path.join(__dirname, '../../@keyrack/linux-arm64-musl/bin/keyrack')),
  fs.existsSync(path.join(__dirname, '../../@keyrack/linux-arm64-musl/bin/keyrackd')),
];

/**
 * Returns `true` if this code is no longer in its package: a bundler has put it into a file of its
 * own.
 */
function isBundled() {
  if (!path.isAbsolute(root)) return true;
  try {
    return JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8')).name !== 'keyrack' || !isThere(path.join(root, 'lib', 'platform.js'));
  } catch (error) {
    // Under node's permission model the file may be there all the same.
    return error.code !== 'ERR_ACCESS_DENIED';
  }
}

/**
 * A published package has no npm/ directory: where there is one, this is a checkout and nothing
 * else is meant.
 */
const isCheckout = () => isThere(path.join(root, 'npm')) && !isBundled();

/**
 * The `node_modules/@keyrack` directories above, nearest first. As node looks for them, but only by
 * path: require.resolve also looks in NODE_PATH and in the home, and a variable must not choose the
 * file to load.
 */
function* scopes() {
  for (let directory = root, above; directory !== above; above = directory, directory = path.dirname(directory)) {
    yield path.join(directory, 'node_modules', '@keyrack');
  }
}

/** The platforms whose packages are installed, whether or not this is one of them. */
const installedPlatforms = () => SUPPORTED.filter((name) => [...scopes()].some((scope) => isThere(path.join(scope, name, 'package.json'))));

/**
 * The directory that holds the addon and the binaries of this platform, `null` when there is none:
 * `npm/<platform>` of a checkout, else the installed `@keyrack/<platform>` as node resolves it from
 * here.
 */
function platformDirectory(name) {
  const checkout = path.join(root, 'npm', name);
  if (isCheckout()) return isThere(checkout) ? checkout : null;
  if (process.versions.pnp) {
    try {
      return path.dirname(require.resolve(`@keyrack/${name}/package.json`));
    } catch {
      return null;
    }
  }
  for (const scope of scopes()) {
    const installed = path.join(scope, name);
    if (isThere(path.join(installed, 'package.json'))) return fs.realpathSync(installed);
  }
  return null;
}

/**
 * Returns `true` for a published package. A git checkout, or a package installed from one, names no
 * platform packages.
 */
const isPublished = () => require('../package.json').optionalDependencies !== undefined;

/** Returns the fix and the hint for a package whose native part is missing. */
function repair() {
  if (isCheckout()) return { fix: 'npm run build' };
  if (!isPublished()) {
    return {
      fix: 'npm run build && npm run pack:local -- --out packed',
      hint: 'it was installed from source: build it in a clone, then install the tarballs of packed/ here',
    };
  }
  const hint = 'a lock file of another system, or an install without optional dependencies, leaves it out';
  if (process.versions.pnp) return { fix: 'yarn install', hint: `${hint}; so does a supportedArchitectures in .yarnrc.yml that does not name this machine` };
  if (root.includes(`${path.sep}.pnpm${path.sep}`)) return { fix: 'pnpm install', hint: `${hint}; remove node_modules if pnpm finds nothing to do` };
  return { fix: 'npm install --force --include=optional keyrack', hint };
}

module.exports = { SUPPORTED, installedPlatforms, isBundled, isThere, platformDirectory, platformName, repair, root, traced };
