#!/usr/bin/env node
// Publishes packed tarballs: every platform package first, each looked up on the registry
// afterwards, then `keyrack`, which asks for exactly those. Someone who installs in between gets
// the version before. Run again after a failure, it goes on where it stopped; what is there already
// must be the same.
//
//   npm run release -- DIR [--provenance]
//
// DIR is what `npm run pack:local -- --all --out DIR` makes. `--provenance` takes a build service
// that npm knows.

import { createHash } from 'node:crypto';
import { capture, run } from './command.mjs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { PLATFORMS } from './platforms.mjs';
import { readFileSync, readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * How long a registry may take to show what it has accepted, and how often it is asked, in
 * milliseconds.
 */
const SHOWN_WITHIN = 300_000;
const ASKED_EVERY = 3_000;

/** The manifest in a tarball. */
const manifestOf = (tarball) => JSON.parse(capture('tar', ['--extract', '--gzip', '--to-stdout', '--file', tarball, 'package/package.json']));

/** The integrity the registry has of a version, `null` when it does not have that version. */
function onRegistry({ name, version }) {
  try {
    return JSON.parse(capture('npm', ['view', `${name}@${version}`, 'dist.integrity', '--json', '--prefer-online', '--loglevel=error']) || 'null');
  } catch (error) {
    if (/\bE404\b/.test(error.message)) return null;
    throw error;
  }
}

/**
 * The tarballs of a directory in the order in which they are published. Fails unless they are one
 * whole release.
 */
function releaseIn(directory) {
  const all = readdirSync(directory)
    .filter((file) => file.endsWith('.tgz'))
    .map((file) => {
      const tarball = join(directory, file);
      const integrity = `sha512-${createHash('sha512').update(readFileSync(tarball)).digest('base64')}`;
      return { tarball, integrity, manifest: manifestOf(tarball) };
    });
  const names = [...PLATFORMS.map((each) => `@keyrack/${each.name}`), 'keyrack'];
  const ordered = names.map((name) => {
    const found = all.filter((each) => each.manifest.name === name);
    if (found.length !== 1) throw new Error(`${directory} holds ${found.length} tarballs of ${name}, not one`);
    return found[0];
  });
  if (all.length !== names.length) throw new Error(`${directory} holds tarballs that are of no package of this release`);
  const { version, optionalDependencies } = ordered.at(-1).manifest;
  for (const { manifest } of ordered.slice(0, -1)) {
    if (manifest.version !== version || optionalDependencies?.[manifest.name] !== version) throw new Error(`${manifest.name}@${manifest.version} is not what keyrack@${version} asks for`);
  }
  return ordered;
}

async function publish({ tarball, integrity, manifest }, flags) {
  const what = `${manifest.name}@${manifest.version}`;
  const before = onRegistry(manifest);
  if (before !== null && before !== integrity) throw new Error(`${what} is on the registry already, and is not ${tarball}`);
  if (before === null) run('npm', ['publish', tarball, '--access', 'public', '--ignore-scripts', ...flags]);
  const end = Date.now() + SHOWN_WITHIN;
  while (onRegistry(manifest) !== integrity) {
    if (Date.now() > end) throw new Error(`${what} was published, and the registry does not show it`);
    await sleep(ASKED_EVERY);
  }
  console.log(`${before === null ? 'published' : 'was there'}: ${what}`);
}

async function main() {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { provenance: { type: 'boolean', default: false } } });
  if (positionals.length !== 1) throw new Error('it takes the directory of the tarballs');
  for (const each of releaseIn(resolve(positionals[0]))) await publish(each, values.provenance ? ['--provenance'] : []);
}

try {
  await main();
} catch (error) {
  console.error(`publish: ${error.message}`);
  process.exitCode = 1;
}
