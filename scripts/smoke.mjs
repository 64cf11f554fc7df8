#!/usr/bin/env node
// Installs packed tarballs into an empty project of a home of its own and does keyrack's main job
// once: by the command, and by Node. For machines that have Node and nothing else, such as a
// container of another libc.
//
//   node scripts/smoke.mjs DIR
//
// DIR holds the tarball of keyrack and the one of this machine's platform.

import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { randomBytes } from 'node:crypto';
import { spawnSync } from 'node:child_process';

const require = createRequire(import.meta.url);
const { writeSshKey } = require('../__tests__/helpers/ssh.cjs');
const { platformName } = require('../lib/platform.js');

function main(base) {
  const [home, runtime, project] = ['home', 'run', 'home/project'].map((name) => {
    const path = join(base, name);
    mkdirSync(path, { mode: 0o700 });
    chmodSync(path, 0o700);
    return path;
  });
  const env = { PATH: process.env.PATH, HOME: home, XDG_RUNTIME_DIR: runtime, npm_config_cache: join(base, 'cache') };
  const does = (program, args, { input = '', expect = 0 } = {}) => {
    const { status, signal, stdout, stderr, error } = spawnSync(program, args, { cwd: project, env, input, encoding: 'utf8', timeout: 120_000 });
    if (error) throw error;
    if (status !== expect) throw new Error(`${program} ${args.join(' ')}: ${signal ?? `exit code ${status}`}\n${stdout}${stderr}`);
    return stdout;
  };
  const packed = resolve(process.argv[2] ?? '.');
  const ours = readdirSync(packed).filter((file) => /^keyrack-\d[^/]*\.tgz$/.test(file) || file.startsWith(`keyrack-${platformName()}-`));
  if (ours.length !== 2) throw new Error(`${packed} does not hold the two tarballs for ${platformName()}: ${ours.join(', ')}`);
  mkdirSync(join(project, '.git'));
  writeFileSync(join(project, 'package.json'), '{ "private": true }\n');
  writeSshKey(home);
  // The other platforms' packages are optional: without a network they are left out.
  does('npm', ['install', '--ignore-scripts', '--offline', '--no-audit', '--no-fund', ...ours.map((file) => join(packed, file))]);

  const secret = randomBytes(12).toString('base64url');
  const keyrack = (words, how) => does(join(project, 'node_modules/.bin/keyrack'), words.split(' '), how);
  console.log(keyrack('--version').trim());
  keyrack('init --org demo');
  keyrack('set --key TOKEN --env test --vault os.secure --mech PERMANENT_VIA_REPLICA', { input: secret });
  keyrack('get --key TOKEN --env test', { expect: 2 });
  keyrack('unlock --env test --duration 10m');
  try {
    const code = "console.log(require('keyrack').getSync({ for: { key: 'TOKEN' }, env: 'test' }).attempt.grant?.key.secret)";
    const worker = `new (require('node:worker_threads').Worker)(${JSON.stringify(code)}, { eval: true })`;
    for (const [how, got] of [
      ['the command', keyrack('get --key TOKEN --env test --value')],
      ['node', does(process.execPath, ['-e', code])],
      ['a worker', does(process.execPath, ['-e', worker])],
    ]) {
      if (got.trim() !== secret) throw new Error(`${how} got something else than what was set`);
      console.log(`${platformName()}: read by ${how}`);
    }
  } finally {
    keyrack('daemon stop');
  }
}

const base = mkdtempSync('/tmp/ks-');
try {
  main(base);
} catch (error) {
  console.error(`smoke: ${error.message}`);
  process.exitCode = 1;
} finally {
  rmSync(base, { recursive: true, force: true });
}
