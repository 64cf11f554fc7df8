// Running other programs from these scripts: by name from PATH, never through a shell.

import { spawnSync } from 'node:child_process';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The checkout. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));

function start(program, args, options) {
  const result = spawnSync(program, args, { cwd: root, maxBuffer: 1 << 28, ...options });
  if (result.error?.code === 'ENOENT') throw new Error(`${program} is not on PATH`);
  if (result.error) throw result.error;
  return result;
}

/** Runs a command with our own terminal. Throws when it fails. */
export function run(program, args, options = {}) {
  const { status, signal } = start(program, args, { stdio: 'inherit', ...options });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${signal ? `ended by ${signal}` : `exit code ${status}`}`);
}

/** What a command prints on stdout. Throws when it fails. */
export function capture(program, args, options = {}) {
  const { status, stdout, stderr } = start(program, args, { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8', ...options });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stderr.trim()}`);
  return stdout;
}
