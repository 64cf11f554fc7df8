// What the package is: what it promises to export and carry, and that its lists are those of the
// Rust side.

import { describe, expect, it } from 'vitest';
import { createRequire } from 'node:module';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

const require = createRequire(import.meta.url);
const { platformDirectory, platformName, root } = require('../lib/platform.js');
const { binding } = require('../lib/binding.js');
const { INVOCATIONS, NAMES, OWNERSHIP } = require('../lib/call_context.js');

const text = (...parts) => readFileSync(join(root, ...parts), 'utf8');
const manifest = JSON.parse(text('package.json'));
const platforms = readdirSync(join(root, 'npm'));

describe('package.json', () => {
  it('has no install script and no platform dependency', () => {
    expect(Object.keys(manifest.scripts).filter((name) => /install|prepare|prepublish|prepack/.test(name))).toStrictEqual([]);
    expect(manifest).not.toHaveProperty('optionalDependencies');
    expect(manifest).not.toHaveProperty('dependencies');
    expect(manifest).not.toHaveProperty('os');
    expect(manifest).not.toHaveProperty('cpu');
  });

  it('exports existing files, each with types', () => {
    const files = (node) => (typeof node === 'string' ? [node] : Object.values(node).flatMap(files));
    for (const file of [...files(manifest.exports), ...Object.values(manifest.bin), manifest.main, manifest.module, manifest.types]) expect([file, existsSync(join(root, file))]).toStrictEqual([file, true]);
  });

  it('can be required by its name', () => {
    expect(require('keyrack').get).toBe(require('../index.js').get);
    expect(require('keyrack/bin').binaryPath()).toBe(join(root, 'npm', platformName(), 'bin', 'keyrack'));
    expect(require('keyrack/bin').binaryPath('keyrackd')).toMatch(/keyrackd$/);
    expect(() => require('keyrack/bin').binaryPath('sh')).toThrow(TypeError);
    expect(require('keyrack/package.json').name).toBe('keyrack');
    expect(() => require('keyrack/lib/spawn.js')).toThrow(/not defined by "exports"/);
  });

  it('packs exactly the files it needs', () => {
    const [{ files }] = JSON.parse(execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
    const names = files.map((file) => file.path);
    for (const needed of ['index.js', 'index.mjs', 'index.d.ts', 'index.d.mts', 'bin/keyrack', 'bin/index.js', 'lib/binding.js', 'LICENSE']) expect(names).toContain(needed);
    expect(names.filter((name) => !/^(index\.(js|mjs|d\.ts|d\.mts)|bin\/|lib\/|schemas\/|LICENSE|README\.md|package\.json)/.test(name))).toStrictEqual([]);
    expect(files.find((file) => file.path === 'bin/keyrack').mode & 0o111).toBe(0o111);
  });

  it('has the version of the crates, the addon and the platform packages', () => {
    expect(text('Cargo.toml')).toContain(`version = "${manifest.version}"`);
    expect(binding().version()).toBe(manifest.version);
    for (const platform of platforms) {
      const each = JSON.parse(text('npm', platform, 'package.json'));
      expect(each).toMatchObject({ name: `@keyrack/${platform}`, version: manifest.version, license: manifest.license });
      expect(each).not.toHaveProperty('scripts');
      expect(`${each.os}-${each.cpu}-${each.libc}`.replace('glibc', 'gnu')).toBe(platform);
    }
  });
});

describe('npm/<platform>', () => {
  it('holds exactly the files of the platform package, and the build record', () => {
    const directory = platformDirectory(platformName());
    const files = readdirSync(directory, { recursive: true }).filter((name) => statSync(join(directory, name)).isFile()).sort();
    expect(files).toStrictEqual(['README.md', 'bin/keyrack', 'bin/keyrackd', 'build.json', 'keyrack.node', 'package.json']);
    for (const [name, mode] of [['bin/keyrack', 0o755], ['bin/keyrackd', 0o755], ['keyrack.node', 0o644]]) expect([name, statSync(join(directory, name)).mode & 0o777]).toStrictEqual([name, mode]);
  });
});

describe('lists in JavaScript and Rust', () => {
  it('KeyrackErrorCode equals the codes in Rust', () => {
    const [, union] = /export type KeyrackErrorCode =\n((?: {2}\|.*\n)+)/.exec(text('index.d.ts'));
    const codes = [...union.matchAll(/\| '(\w+)'/g)].map(([, code]) => code);
    expect(codes).toStrictEqual(binding().errorCodes());
  });

  it.each([
    ['KeyrackHostVault', 'vault_id.rs', /VaultId::\w+ => "([\w.]+)"/g],
    ['KeyrackGrantMechanism', 'mechanism.rs', /Mechanism::\w+ => "(\w+_VIA_\w+)"/g],
    ['Env', 'env.rs', /Env::\w+ => "(\w+)"/g],
  ])('%s is the list of the Rust side', (name, file, form) => {
    const [, union] = new RegExp(`^export type ${name} =([^;]+);`, 'm').exec(text('index.d.ts'));
    const words = [...union.matchAll(/'([^']+)'/g)].map(([, word]) => word);
    const known = [...text('crates/keyrack-core/src', file).matchAll(form)].map(([, word]) => word);
    expect(known.length).toBeGreaterThan(4);
    expect([...words].sort()).toStrictEqual([...new Set(known)].sort());
  });

  it('every code thrown in lib is a known one', () => {
    const thrown = readdirSync(join(root, 'lib')).flatMap((file) => [...text('lib', file).matchAll(/\bcode: '(\w+)'/g)].map(([, code]) => code));
    expect(thrown.length).toBeGreaterThan(5);
    for (const code of thrown) expect(binding().errorCodes()).toContain(code);
  });

  it('the variables of a call context are those that the client reads', () => {
    const sources = readdirSync(join(root, 'crates/keyrack-client/src'), { recursive: true }).filter((name) => name.endsWith('.rs'));
    const read = new Set();
    const constants = new Map([...text('crates/keyrack-core/src/layout', 'variables.rs').matchAll(/pub const (\w+): &str = "(\w+)"/g)].map(([, constant, name]) => [constant, name]));
    const isRead = (name) => /^(HOME|XDG_RUNTIME_DIR|SUDO_UID|KEYRACK_[A-Z_]+)$/.test(name);
    for (const file of sources.filter((name) => name !== 'manifest/ownership.rs')) {
      // What the client says to people, and what it tests, is not what it reads.
      const code = text('crates/keyrack-client/src', file).split('#[cfg(test)]')[0];
      for (const [, name] of code.matchAll(/\b(?:text|is_on|get|filled)\("?(\w+)"?\)/g)) {
        const variable = constants.get(name) ?? name;
        if (isRead(variable)) read.add(variable);
      }
    }
    expect([...read].sort()).toStrictEqual([...NAMES].sort());
    const [ownership] = text('crates/keyrack-client/src', 'manifest/ownership.rs').split('#[cfg(test)]');
    const accepting = [...ownership.matchAll(/"((?:GIT|XDG|KEYRACK)_[A-Z_]+)"|\b(SAFE_DIRECTORY)\b/g)].map(([, name, constant]) => name ?? constants.get(constant));
    expect([...new Set(accepting)].sort()).toStrictEqual([...OWNERSHIP].sort());
  });

  it('the known invocations equal those in Rust', () => {
    const [, list] = /KNOWN: \[&'static str; \d+\] =\s*\[([^\]]+)\]/.exec(text('crates/keyrack-core/src/fix.rs'));
    expect(INVOCATIONS).toStrictEqual([...list.matchAll(/"([^"]+)"/g)].map(([, each]) => each));
    for (const each of INVOCATIONS) expect(text('bin/keyrack')).toContain(each);
  });
});
