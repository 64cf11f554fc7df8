// Each reason why the native part is not loaded, reproduced where that is possible, with its fix or
// hint.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { nodeFileTrace } from '@vercel/nft';

const require = createRequire(import.meta.url);
const { canRun, root, run } = require('./helpers/home.cjs');
const { platformDirectory, platformName, traced } = require('../lib/platform.js');
const { explain, mountOptions } = require('../lib/diagnose.js');

const NAME = platformName();
const OTHER = NAME.includes('arm64') ? 'linux-x64-gnu' : 'linux-arm64-gnu';
const REINSTALL = 'npm install --force --include=optional keyrack';
const PERMISSION = process.allowedNodeEnvironmentFlags.has('--permission') ? '--permission' : '--experimental-permission';

let base;
beforeEach(() => {
  base = realpathSync(mkdtempSync('/tmp/kn-'));
});
afterEach(() => {
  rmSync(base, { recursive: true, force: true });
});

/** The package as it is published, and the platform package of `names`, below `directory`. */
function install(directory = base, names = [NAME]) {
  const keyrack = join(directory, 'node_modules', 'keyrack');
  mkdirSync(keyrack, { recursive: true });
  for (const name of ['index.js', 'index.mjs', 'lib', 'bin']) cpSync(join(root, name), join(keyrack, name), { recursive: true });
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  writeFileSync(join(keyrack, 'package.json'), JSON.stringify({ ...manifest, optionalDependencies: { [`@keyrack/${NAME}`]: manifest.version } }));
  for (const name of names) {
    const platform = join(directory, 'node_modules', '@keyrack', name);
    mkdirSync(join(platform, 'bin'), { recursive: true });
    copyFileSync(join(root, 'npm', name, 'package.json'), join(platform, 'package.json'));
    for (const file of ['keyrack.node', 'bin/keyrack', 'bin/keyrackd']) copyFileSync(join(platformDirectory(NAME), file), join(platform, file));
  }
  return keyrack;
}

const native = (...parts) => join(base, 'node_modules', '@keyrack', NAME, ...parts);

/** A program that prints the error of asking the daemon, and the error of running the command. */
const ASKS = `
  const keyrack = require('keyrack');
  const told = (error) => (error instanceof keyrack.KeyrackError ? { code: error.code, message: error.message, fix: error.fix, hint: error.metadata.hint } : { raw: String(error) });
  let read = null;
  try { keyrack.status() } catch (error) { read = told(error) }
  keyrack.unlock({ env: 'test', timeoutMs: 10000 }).then(() => null, told).then((changed) => process.stdout.write(JSON.stringify({ read, changed })));`;

async function ask({ flags = [], file = join(base, 'app.cjs'), env = {}, through = (words) => words } = {}) {
  if (file === join(base, 'app.cjs')) writeFileSync(file, ASKS);
  const [program, ...args] = through([process.execPath, ...flags, file]);
  const { stdout, stderr } = await run(program, args, { cwd: dirname(file), env: { PATH: process.env.PATH, HOME: base, XDG_RUNTIME_DIR: base, ...env } });
  if (stdout === '') throw new Error(stderr);
  return JSON.parse(stdout);
}

/** Flips the machine that an ELF file is made for (`e_machine`, elf(5)). */
function forAnotherMachine(file) {
  const bytes = readFileSync(file);
  bytes.writeUInt16LE(0xf3, 18);
  writeFileSync(file, bytes);
}

describe('loading the addon', () => {
  it('succeeds in an intact installation', async () => {
    install();
    const { read } = await ask();
    expect(read).toBeNull();
  });

  const cases = [
    ['addons are off', { flags: ['--no-addons'] }, /does not allow addons/, undefined, /without `--no-addons`/],
    ['the permission model lets none in', { flags: [PERMISSION, '--allow-fs-read=*'] }, /does not allow addons/, undefined, /`--allow-addons` as well/],
    ['the package is missing', { prepare: () => rmSync(native(), { recursive: true }) }, new RegExp(`@keyrack/${NAME} is not installed$`), REINSTALL, /optional dependencies/],
    [
      'only that of another machine is there',
      { prepare: () => (install(base, [OTHER]), rmSync(native(), { recursive: true })) },
      new RegExp(`@keyrack/${NAME} is not installed, only @keyrack/${OTHER}$`),
      REINSTALL,
      /made for another machine/,
    ],
    ['the addon was removed', { prepare: () => rmSync(native('keyrack.node')) }, /keyrack\.node is not there$/, REINSTALL, /optional/],
    ['the addon is empty', { prepare: () => writeFileSync(native('keyrack.node'), '') }, /damaged, or was built for another machine/, REINSTALL, /optional/],
    ['the addon is text, as a pointer of Git LFS is', { prepare: () => writeFileSync(native('keyrack.node'), 'version https://git-lfs'.repeat(99)) }, /damaged, or was built for another machine/, REINSTALL, /optional/],
    ['the addon is of another machine', { prepare: () => forAnotherMachine(native('keyrack.node')) }, /built for another/, REINSTALL, /optional|another machine/],
    ['the addon is another one', { prepare: () => copyFileSync(anotherAddon(), native('keyrack.node')) }, /is another addon$/, REINSTALL, /optional/],
  ];
  it.each(cases)('fails with a fix: %s', async (_, { prepare, ...how }, message, fix, hint) => {
    install();
    prepare?.();
    const { read } = await ask(how);
    expect(read).toStrictEqual({ code: 'binding_missing', message: expect.stringMatching(message), ...(fix && { fix }), hint: expect.stringMatching(hint) });
  });

  it('fails with a hint: the permission model denies reading it', async () => {
    install();
    const flags = [PERMISSION, '--allow-addons', `--allow-fs-read=${join(base, 'node_modules', 'keyrack')}/*`, `--allow-fs-read=${join(base, 'app.cjs')}`, `--allow-fs-read=${join(base, 'node_modules')}/package.json`];
    const { read } = await ask({ flags });
    expect(read).toMatchObject({ code: 'binding_missing', message: expect.stringContaining("node's permission model does not let it read"), hint: expect.stringContaining('--allow-fs-read=') });
    expect(read.fix).toBeUndefined();
  });

  it('fails with a hint: it is on a file system mounted noexec', async () => {
    if (!canRun('load: noexec', 'unshare') || !isRoot('load: noexec')) return;
    const at = join(base, 'node_modules');
    mkdirSync(at);
    install(join(base, 'made'));
    const script = 'mount -t tmpfs -o noexec none "$0" && cp -r "$1/node_modules/." "$0" && shift && exec "$@"';
    const { read, changed } = await ask({ through: (words) => ['unshare', '--mount', 'sh', '-c', script, at, join(base, 'made'), ...words] });
    expect(read).toStrictEqual({ code: 'binding_missing', message: expect.stringContaining(`${at} is mounted noexec`), hint: expect.stringContaining(`mount -o remount,exec ${at}`) });
    const shim = await run('unshare', ['--mount', 'sh', '-c', script, at, join(base, 'made'), 'sh', join(at, 'keyrack', 'bin', 'keyrack'), '--version'], { cwd: base });
    expect(shim).toMatchObject({ status: 1, stdout: '', stderr: expect.stringMatching(/^keyrack: .*bin\/keyrack could not be run: .* is mounted noexec\nhint: install keyrack elsewhere/) });
    // So is the command beside it.
    expect(changed).toStrictEqual({ code: 'command_failed', message: expect.stringContaining(`${at} is mounted noexec`), hint: expect.stringContaining('remount,exec') });
  });

  it.each(['esm', 'cjs'])('fails with a hint: keyrack was bundled, to %s', async (format) => {
    install();
    writeFileSync(join(base, 'app.js'), ASKS);
    const { buildSync } = require('esbuild');
    const file = join(base, 'deployed', 'lib', format === 'esm' ? 'server.mjs' : 'server.cjs');
    const banner = format === 'esm' ? { js: "import { createRequire } from 'node:module'; import { dirname } from 'node:path'; const require = createRequire(import.meta.url), __filename = import.meta.filename ?? new URL(import.meta.url).pathname, __dirname = dirname(__filename);" } : {};
    buildSync({ entryPoints: [join(base, 'app.js')], bundle: true, platform: 'node', format, banner, outfile: file, logLevel: 'silent' });
    rmSync(join(base, 'node_modules'), { recursive: true });
    // An application may have a directory of this name, and a manifest.
    mkdirSync(join(base, 'deployed', 'npm'));
    writeFileSync(join(base, 'deployed', 'package.json'), '{"name":"server"}');
    const { read, changed } = await ask({ file });
    const bundled = { code: 'binding_missing', message: expect.stringContaining('keyrack was bundled'), hint: expect.stringMatching(/serverExternalPackages.*esbuild.*webpack/) };
    expect([read, changed]).toStrictEqual([bundled, bundled]);
  });

  it('ignores variables that name another file', async () => {
    install();
    rmSync(native(), { recursive: true });
    install(join(base, 'elsewhere'));
    for (const scope of ['.node_modules', '.node_libraries']) cpSync(join(base, 'elsewhere', 'node_modules'), join(base, scope), { recursive: true });
    const { read } = await ask({ env: { NODE_PATH: join(base, 'elsewhere', 'node_modules') } });
    expect(read).toMatchObject({ code: 'binding_missing', message: expect.stringContaining('is not installed') });
  });
});

/** Returns `true` for root; says else what is not run, and fails under KEYRACK_TEST_REQUIRE=all. */
function isRoot(test) {
  if (process.getuid() === 0) return true;
  const line = `not run: ${test}: needs root`;
  if (process.env.KEYRACK_TEST_REQUIRE === 'all') throw new Error(line);
  process.stderr.write(`${line}\n`);
  return false;
}

/** An addon that is not keyrack's. */
function anotherAddon() {
  const found = readdirSync(join(root, 'node_modules', '@rolldown')).filter((each) => each.startsWith('binding-linux'));
  const directory = join(root, 'node_modules', '@rolldown', found[0]);
  return join(directory, readdirSync(directory).find((each) => each.endsWith('.node')));
}

describe('a message of the dynamic loader', () => {
  const mountinfo = '30 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n31 30 0:40 / /srv rw,noexec - tmpfs none rw\n32 30 0:41 / /with\\040space rw,noexec - tmpfs none rw\n33 31 0:42 / /srv/app rw - tmpfs none rw\n34 33 0:43 / /srv/app rw,noexec - tmpfs none rw\n';
  const facts = { name: 'linux-x64-musl', directory: '/app/node_modules/@keyrack/linux-x64-musl', root: '/app/node_modules/keyrack', bundled: false, installed: [], repair: { fix: REINSTALL, hint: 'h' }, permission: false, mayRead: () => true, mountinfo };
  const failed = (message) => Object.assign(new Error(message), { code: 'ERR_DLOPEN_FAILED' });
  it.each([
    ["/x/keyrack.node: version `GLIBC_2.38' not found (required by /x/keyrack.node)", {}, /newer C library than this system has: GLIBC_2\.38/, undefined, /glibc 2\.28/],
    ['Error relocating /x/keyrack.node: __vsnprintf_chk: symbol not found', {}, /another C library/, REINSTALL, /another machine or image/],
    ['libc.musl-x86_64.so.1: cannot open shared object file: No such file or directory', {}, /another C library/, REINSTALL, /another machine or image/],
    ['Error loading shared library ld-linux-x86-64.so.2: No such file or directory (needed by /x/keyrack.node)', {}, /another C library/, REINSTALL, /another machine or image/],
    ['Error loading shared library /x/keyrack.node: Exec format error', {}, /damaged, or was built for another machine/, REINSTALL, /h/],
    ['/x/keyrack.node: invalid ELF header', {}, /damaged, or was built for another machine/, REINSTALL, /h/],
    ['/x/keyrack.node: failed to map segment from shared object', { directory: '/srv/n' }, /\/srv is mounted noexec/, undefined, /remount,exec \/srv/],
    ['/x/keyrack.node: failed to map segment from shared object', { directory: '/with space/n' }, /\/with space is mounted noexec/, undefined, /remount,exec/],
    ['/x/keyrack.node: failed to map segment from shared object: Operation not permitted', {}, /the system does not allow/, undefined, /SELinux/],
    ['something new', {}, /^something new$/, REINSTALL, /h/],
  ])('%s', (message, other, said, fix, hint) => {
    const told = explain(failed(message), { ...facts, ...other });
    expect(told).toStrictEqual({ message: expect.stringMatching(said), ...(fix && { fix }), hint: expect.stringMatching(hint) });
  });

  it('mountOptions finds the mount of a file', () => {
    for (const [file, point] of [['/app/x', '/'], ['/srv/x', '/srv'], ['/srvx/y', '/'], ['/srv/app/x', '/srv/app'], ['/with space/x', '/with space']]) expect([file, mountOptions(file, mountinfo).point]).toStrictEqual([file, point]);
    expect(mountOptions('/srv/app/x', mountinfo).options).toContain('noexec');
    expect(mountOptions('/x', '').options).toStrictEqual([]);
  });
});

describe('an error', () => {
  it('is a KeyrackError if node must not start processes', async () => {
    install();
    const { changed } = await ask({ flags: [PERMISSION, '--allow-fs-read=*', '--allow-addons'] });
    expect(changed).toStrictEqual({ code: 'command_failed', message: expect.stringContaining('permission model'), hint: expect.stringContaining('--allow-child-process') });
  });

  it.each([
    ['unlock', "keyrack.unlock({ env: 'test' })"],
    ['set', "keyrack.set({ key: 'A', env: 'test', vault: 'os.secure', secret: 's' })"],
    ['del', "keyrack.del({ key: 'A', env: 'test' })"],
  ])('is a KeyrackError whatever %s meets', async (_, call) => {
    install();
    // Of what a host may put in place of node's own.
    const broken = `require('node:child_process').spawn = () => { throw new RangeError('no such luck') }; const keyrack = require('keyrack');
      ${call}.then(() => 'done', (error) => [error instanceof keyrack.KeyrackError, error.code, /no such luck/.test(error.message)]).then((said) => process.stdout.write(JSON.stringify(said)))`;
    writeFileSync(join(base, 'broken.cjs'), broken);
    expect(await ask({ file: join(base, 'broken.cjs') })).toStrictEqual([true, 'command_failed', true]);
  });

  it('is a KeyrackError for an unforeseen error, and a TypeError for a wrong argument', async () => {
    const { get, getSync, KeyrackError } = require('../index.js');
    const trap = { get for() { throw new TypeError('out of a getter') } };
    const unforeseen = await get(trap).catch((error) => error);
    expect([unforeseen instanceof KeyrackError, unforeseen.code, unforeseen.cause.message]).toStrictEqual([true, 'internal', 'out of a getter']);
    expect(() => getSync(trap)).toThrow(KeyrackError);
    await expect(get({ for: 1 })).rejects.toThrow(TypeError);
    expect(() => getSync({ for: 1 })).toThrow('getSync: for: the argument must be an object, not number');
    expect([get.name, get.length, getSync.name]).toStrictEqual(['get', 1, 'getSync']);
  });
});

describe('a tracer of files', () => {
  const traced4 = ['package.json', 'keyrack.node', 'bin/keyrack', 'bin/keyrackd'];

  it.each(['index.js', 'index.mjs'])('finds the addon and the binaries, from %s', async (entry) => {
    install(base, [NAME]);
    writeFileSync(join(base, 'app.mjs'), `import * as keyrack from './node_modules/keyrack/${entry}';\nexport default keyrack;\n`);
    const { fileList } = await nodeFileTrace([join(base, 'app.mjs')], { base });
    expect([...fileList]).toEqual(expect.arrayContaining(traced4.map((file) => `node_modules/@keyrack/${NAME}/${file}`)));
  });

  it('finds them where pnpm puts them', async () => {
    const store = join(base, 'node_modules', '.pnpm', 'keyrack@0.1.0');
    const platform = join(base, 'node_modules', '.pnpm', `@keyrack+${NAME}@0.1.0`);
    install(store, []);
    install(platform, [NAME]);
    rmSync(join(platform, 'node_modules', 'keyrack'), { recursive: true });
    mkdirSync(join(store, 'node_modules', '@keyrack'));
    symlinkSync(relative(join(store, 'node_modules', '@keyrack'), join(platform, 'node_modules', '@keyrack', NAME)), join(store, 'node_modules', '@keyrack', NAME));
    symlinkSync('.pnpm/keyrack@0.1.0/node_modules/keyrack', join(base, 'node_modules', 'keyrack'));
    writeFileSync(join(base, 'app.mjs'), "import 'keyrack';\n");
    const { fileList } = await nodeFileTrace([join(base, 'app.mjs')], { base });
    const real = relative(base, join(platform, 'node_modules', '@keyrack', NAME));
    expect([...fileList]).toEqual(expect.arrayContaining(traced4.map((file) => join(real, file))));
  });

  it('finds every platform and file', () => {
    const { PLATFORMS, SHIPPED } = { PLATFORMS: readdirSync(join(root, 'npm')), SHIPPED: traced4 };
    const text = traced.toString();
    for (const name of PLATFORMS) for (const file of SHIPPED) expect(text).toContain(`'../../@keyrack/${name}/${file}'`);
    expect(traced().every((found) => typeof found === 'boolean')).toBe(true);
    expect(existsSync(join(root, 'lib', 'platform.js'))).toBe(true);
  });
});
