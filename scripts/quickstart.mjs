#!/usr/bin/env node
// Builds keyrack and does its main job once, in a home of its own that is gone afterwards: nothing
// that you have is read or written. Needs cargo, node and git; no npm dependency.

import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { root, run } from './command.mjs';
import { build } from './build.mjs';
import { randomBytes } from 'node:crypto';
import { spawnSync } from 'node:child_process';

const keyrack = join(root, 'bin', 'keyrack');

/**
 * Makes the home that the commands run in. Its path is short: a socket's path has at most 107
 * bytes.
 */
function throwawayHome() {
  const base = mkdtempSync('/tmp/keyrack-');
  const home = { base, home: join(base, 'home'), runtime: join(base, 'run'), project: join(base, 'home', 'project') };
  for (const path of [home.home, join(home.home, '.ssh'), home.runtime, home.project]) {
    mkdirSync(path);
    chmodSync(path, 0o700);
  }
  home.env = { PATH: process.env.PATH, HOME: home.home, XDG_RUNTIME_DIR: home.runtime, NO_COLOR: '1' };
  return home;
}

/**
 * Ends the daemons of this home, by the command and, if one is left, by pid: only processes whose
 * socket is in our runtime directory.
 */
function stopDaemons({ runtime, env, project }) {
  spawnSync(keyrack, ['daemon', 'stop'], { cwd: project, env, timeout: 10_000, stdio: 'ignore' });
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      if (readFileSync(`/proc/${entry}/cmdline`, 'utf8').includes(`${runtime}/`)) process.kill(Number(entry), 'SIGKILL');
    } catch {
      // It has ended, or is not ours.
    }
  }
}

/**
 * Prints a command as a person would type it, runs it, and holds it to its exit code. Returns what
 * it printed on stdout.
 */
function step(home, shown, program, args, { input, expect = 0 } = {}) {
  console.log(`\n$ ${shown}`);
  const { status, signal, stdout, stderr, error } = spawnSync(program, args, { cwd: home.project, env: home.env, input: input ?? '', encoding: 'utf8', timeout: 60_000 });
  if (error) throw error;
  process.stdout.write(stdout);
  process.stderr.write(stderr);
  if (stdout !== '' && !stdout.endsWith('\n')) console.log();
  if (status !== expect) throw new Error(`\`${shown}\` ended with ${signal ?? `exit code ${status}`}, not ${expect}`);
  return stdout;
}

function main(home, binaries) {
  const secret = randomBytes(12).toString('base64url');
  const ask = (words, options) => step(home, `keyrack ${words}`, keyrack, words.split(' '), options);

  console.log('\n# a fresh ssh key and a fresh repository');
  run('cargo', ['run', '--release', '--locked', '--quiet', '--target', binaries, '-p', 'keyrack-vaults', '--example', 'make_ssh_key', join(home.home, '.ssh', 'id_ed25519')]);
  step(home, 'git init', 'git', ['init', '--quiet']);

  console.log('\n# once per machine and repository: who may open the vault, and which org the keys are of');
  ask('init --org demo');

  console.log('\n# once per key: into an encrypted vault, the secret by stdin');
  const set = 'set --key API_TOKEN --env test --vault os.secure --mech PERMANENT_VIA_REPLICA';
  step(home, `printf %s "$SECRET" | keyrack ${set}`, keyrack, set.split(' '), { input: secret });

  console.log('\n# locked: every tool is told so, and what would unlock it');
  ask('get --key API_TOKEN --env test', { expect: 2 });

  console.log('\n# once per login session: unlock');
  ask('unlock --env test --duration 10m');

  console.log('\n# and get everywhere, without a prompt: from a shell');
  const value = ask('get --key API_TOKEN --env test --value');
  if (value !== secret) throw new Error('what came back is not what was set');

  console.log('\n# and from Node');
  const code = "console.log(keyrack.getSync({ for: { key: 'API_TOKEN' }, env: 'test' }).attempt.grant.key.secret)";
  const program = `const keyrack = require(${JSON.stringify(root)}); ${code}`;
  const seen = step(home, `node -e "const keyrack = require('keyrack'); ${code}"`, process.execPath, ['-e', program]);
  if (seen.trim() !== secret) throw new Error('what Node got is not what was set');

  console.log('\n# what is unlocked, and for how long');
  ask('status');

  console.log('\n# the end, before the ten minutes are over');
  ask('relock');
  ask('get --key API_TOKEN --env test', { expect: 2 });
}

let home;
const cleanUp = () => {
  if (!home) return;
  if (existsSync(home.base)) stopDaemons(home);
  rmSync(home.base, { recursive: true, force: true });
  home = undefined;
};
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    cleanUp();
    process.exit(130);
  });
}
try {
  const { binaries } = build();
  home = throwawayHome();
  main(home, binaries);
  console.log('\nThat was all of it. Its daemon is stopped and its home removed.');
} catch (error) {
  console.error(`quickstart: ${error.message}`);
  process.exitCode = 1;
} finally {
  cleanUp();
}
