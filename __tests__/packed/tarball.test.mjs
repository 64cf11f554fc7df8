// The tarballs themselves: what is in them, what they promise, and what tools that read packages
// find wrong with them.

import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core';
import { describe, expect, inject, it } from 'vitest';
import { contents } from '../../scripts/pack.mjs';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { compareVersions, faults, glibcFloor, needed } from '../../scripts/elf.mjs';
import { GLIBC_FLOOR, PLATFORMS } from '../../scripts/platforms.mjs';
import { join } from 'node:path';
import { publint } from 'publint';
import { builtHere } from '../../scripts/build.mjs';

const { root, platform, name } = inject('packed');
const manifestOf = (tarball) => JSON.parse(execFileSync('tar', ['-xzOf', tarball, 'package/package.json'], { encoding: 'utf8' }));
const built = PLATFORMS.filter((each) => existsSync(join(each.directory, 'keyrack.node')));

describe('the root package', () => {
  const manifest = manifestOf(root);

  it('asks for exactly the platform packages of its own version', () => {
    expect(manifest.optionalDependencies).toStrictEqual(Object.fromEntries(PLATFORMS.map((each) => [`@keyrack/${each.name}`, manifest.version])));
    expect(manifest.preferUnplugged).toBe(true);
    for (const field of ['private', 'scripts', 'dependencies', 'devDependencies', 'overrides', 'os', 'cpu', 'libc']) expect(manifest).not.toHaveProperty(field);
  });

  it('holds the API, the command, and nothing that is only for a checkout', () => {
    const held = contents(root);
    for (const file of ['index.js', 'index.mjs', 'index.d.ts', 'index.d.mts', 'bin/index.js', 'lib/binding.js', 'README.md', 'LICENSE']) expect([file, held[file]]).toStrictEqual([file, 0o644]);
    expect(held['bin/keyrack']).toBe(0o755);
    expect(manifest.man).toContain('./man/keyrack.1');
    for (const page of manifest.man) expect([page, held[page.slice(2)]]).toStrictEqual([page, 0o644]);
    expect(Object.keys(held).filter((file) => /^(crates|npm|scripts|__tests__|node_modules|bench|fuzz|target|\.)/.test(file))).toStrictEqual([]);
  });

  it('is found in order by publint', async () => {
    const bytes = readFileSync(root);
    const { messages } = await publint({ pack: { tarball: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) }, strict: true });
    expect(messages).toStrictEqual([]);
  });

  it('is found to have the right types for every way of importing it', async () => {
    const { problems, types, entrypoints } = await checkPackage(createPackageFromTarballData(readFileSync(root)));
    expect(problems).toStrictEqual([]);
    expect(types).toMatchObject({ kind: 'included' });
    expect(Object.keys(entrypoints).sort()).toStrictEqual(['.', './bin', './package.json']);
    for (const entry of ['.', './bin']) {
      for (const how of ['node10', 'node16-cjs', 'node16-esm', 'bundler']) {
        // Before `exports`, a subpath was a directory of that name.
        expect([entry, how, entrypoints[entry].resolutions[how].resolution?.isTypeScript]).toStrictEqual([entry, how, true]);
      }
    }
  });
});

describe('the platform package', () => {
  it('is for this machine, and is unpacked where it can be run', () => {
    const [os, cpu, libc] = name.split('-');
    expect(manifestOf(platform)).toMatchObject({ name: `@keyrack/${name}`, os: [os], cpu: [cpu], libc: [libc === 'gnu' ? 'glibc' : 'musl'], preferUnplugged: true });
    expect(manifestOf(platform)).not.toHaveProperty('private');
  });

  it('holds the addon, the two binaries executable, the notices of what is in them, and nothing else', () => {
    const notices = execFileSync('tar', ['-xzOf', platform, 'package/THIRD-PARTY.txt'], { encoding: 'utf8' });
    for (const crate of ['age', 'napi', 'serde_json', 'tokio']) expect(notices).toMatch(new RegExp(`^${crate} \\d`, 'm'));
    expect(notices).not.toMatch(/^(keyrack\S*|proptest|clap_derive) \d/m);
    expect(contents(platform)).toStrictEqual({ 'package.json': 0o644, 'README.md': 0o644, LICENSE: 0o644, 'THIRD-PARTY.txt': 0o644, 'keyrack.node': 0o644, 'bin/keyrack': 0o755, 'bin/keyrackd': 0o755 });
  });

  it('is found in order by publint', async () => {
    const bytes = readFileSync(platform);
    const { messages } = await publint({ pack: { tarball: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) }, strict: true });
    expect(messages).toStrictEqual([]);
  });
});

describe('what was built', () => {
  it.each(built)('$name may be shipped', (each) => {
    // Without Rust's musl target the build says so, and uses the libc of this machine.
    expect(faults(each, { shared: !builtHere().static })).toStrictEqual([]);
  });

  it('needs no newer glibc than the documents say', () => {
    for (const each of built) {
      const addon = join(each.directory, 'keyrack.node');
      if (each.libc === 'gnu') expect(compareVersions(glibcFloor(addon), GLIBC_FLOOR)).toBeLessThanOrEqual(0);
      else expect([glibcFloor(addon), needed(addon)]).toStrictEqual([null, ['libc.so']]);
    }
    const text = (...parts) => readFileSync(new URL(`../../${parts.join('/')}`, import.meta.url), 'utf8');
    for (const document of ['docs/install.md', ...PLATFORMS.filter((each) => each.libc === 'gnu').map((each) => `npm/${each.name}/README.md`)]) expect([document, text(document)]).toStrictEqual([document, expect.stringContaining(`glibc ${GLIBC_FLOOR}`)]);
  });
});
