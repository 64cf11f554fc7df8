'use strict';
// Reasons and remedies for an addon that could not be loaded. Loaded only once that has happened.

const fs = require('node:fs');
const path = require('node:path');

/** Hint for a bundled keyrack. */
const BUNDLERS = "keep keyrack out of the bundle: `serverExternalPackages: ['keyrack']` in next.config.js, `external: ['keyrack']` in esbuild, Vite and Rollup, `externals` in webpack (docs/install.md, Bundlers)";

/**
 * Options of the mount that a file is on (`proc_pid_mountinfo(5)`): of those above it the one with
 * the longest path, and of equals the last.
 */
function mountOptions(file, mountinfo) {
  let best = { point: '', options: [] };
  for (const line of mountinfo.split('\n')) {
    const [, , , , escaped, options] = line.split(' ');
    if (escaped === undefined || options === undefined) continue;
    const point = escaped.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(parseInt(octal, 8)));
    const above = point === '/' || file === point || file.startsWith(`${point}/`);
    if (above && point.length >= best.point.length) best = { point, options: options.split(',') };
  }
  return best;
}

function readMounts() {
  try {
    return fs.readFileSync('/proc/self/mountinfo', 'utf8');
  } catch {
    return '';
  }
}

/** Facts about this process that explain a failure. */
function factsOf({ name, directory, root, bundled, installed, repair }) {
  const { permission } = process;
  const mayRead = (file) => {
    try {
      return permission === undefined || permission.has('fs.read', file);
    } catch {
      return true;
    }
  };
  return { name, directory, root, bundled, installed, repair, permission: permission !== undefined, mayRead, mountinfo: readMounts() };
}

const elsewhere = (point) => `install keyrack elsewhere, or remount it: \`mount -o remount,exec ${point}\``;

/** Says that node's permission model keeps the package from being read. */
function unreadable(directory) {
  return { message: `node's permission model does not let it read ${directory}`, hint: `start node with \`--allow-fs-read=${directory}/*\` as well` };
}

/**
 * The reason, and what to do, for an addon that could not be loaded: `message`, and `fix` (a
 * command) or `hint` (a sentence) or both.
 *
 * @param {Error} cause what node says
 * @param {ReturnType<typeof factsOf>} facts
 */
function explain(cause, { name, directory, root, bundled, installed, repair, permission, mayRead, mountinfo }) {
  const text = String(cause.message).split('\n', 1)[0];
  if (cause.code === 'ERR_DLOPEN_DISABLED') {
    const hint = permission
      ? 'start node with `--allow-addons` as well; unlock, set and del need `--allow-child-process` too'
      : 'start node without `--no-addons`';
    return { message: 'this Node process does not allow addons', hint };
  }
  const packages = path.dirname(root);
  if (directory === null && !bundled && !mayRead(packages)) return unreadable(packages);
  if (directory !== null && !mayRead(directory)) return unreadable(directory);
  if (bundled) return { message: 'keyrack was bundled, and a bundle has no native part', hint: BUNDLERS };
  if (directory === null) {
    const others = installed.filter((each) => each !== name);
    if (others.length === 0) return { message: `the package @keyrack/${name} is not installed`, ...repair };
    const only = others.map((each) => `@keyrack/${each}`).join(' and ');
    return { message: `the package @keyrack/${name} is not installed, only ${only}`, ...repair, hint: 'node_modules was made for another machine or image; install it where it is used' };
  }
  if (cause.code === 'MODULE_NOT_FOUND') return { message: `${path.join(directory, 'keyrack.node')} is not there`, ...repair };
  if (cause.code === 'ERR_DLOPEN_FAILED') return refusedByLoader(text, path.join(directory, 'keyrack.node'), mountinfo, repair);
  return { message: text, ...repair };
}

/** Explains the message of the dynamic loader of glibc or musl. */
function refusedByLoader(text, file, mountinfo, repair) {
  if (/Operation not permitted|failed to map segment|Permission denied/.test(text)) {
    const { point, options } = mountOptions(file, mountinfo);
    if (options.includes('noexec')) return { message: `${file} is on a file system that does not allow execution: ${point} is mounted noexec`, hint: elsewhere(point) };
    return { message: `the system does not allow ${file} to be executed: ${text}`, hint: 'a security module (SELinux, AppArmor) or the mode of the file forbids it' };
  }
  const version = /version [`'](GLIBC_[0-9.]+)' not found/.exec(text);
  if (version) return { message: `it needs a newer C library than this system has: ${version[1]}`, hint: 'keyrack runs with glibc 2.28 or later, and with musl (docs/install.md)' };
  if (/Error relocating|symbol not found|libc\.musl|ld-linux|libc\.so\.6/.test(text)) {
    return { message: `it was built for another C library: ${text}`, ...repair, hint: 'node_modules was made for another machine or image; install it where it is used' };
  }
  // glibc says so of a file that is there, and made for another machine.
  const skipped = text.startsWith(`${file}: cannot open shared object file`);
  if (skipped || /invalid ELF header|wrong ELF class|file too short|Exec format error|ELF file/.test(text)) {
    return { message: `${file} is damaged, or was built for another machine: ${text}`, ...repair };
  }
  return { message: text, ...repair };
}

/** The fields of a KeyrackError for a command that node or the kernel does not start. */
function notStarted(cause, file) {
  const problem = { code: 'command_failed', message: `${file} could not be run: ${cause.message}`, cause };
  if (cause.code === 'ERR_ACCESS_DENIED') return { ...problem, message: "node's permission model does not let it run keyrack", hint: 'start node with `--allow-child-process` as well' };
  if (cause.code !== 'EACCES') return problem;
  const { point, options } = mountOptions(file, readMounts());
  return options.includes('noexec') ? { ...problem, message: `${file} could not be run: ${point} is mounted noexec`, hint: elsewhere(point) } : problem;
}

module.exports = { explain, factsOf, mountOptions, notStarted };
