'use strict';
// Runs the package's own binary by its absolute path, never from PATH and never through a shell. A
// secret is passed on stdin; none is printed.

const { spawn } = require('node:child_process');
const fs = require('node:fs');
const { binaryPath } = require('../bin/index.js');
const { KeyrackError } = require('./error.js');
const { ownProperties } = require('./own_properties.js');
const { directory, invokedAs } = require('./call_context.js');

/**
 * Limits of the child's output, in bytes: of stdout the maximum, of stderr the last part that is
 * kept.
 */
const STDOUT_LIMIT = 16 << 20;
const STDERR_KEPT = 64 << 10;

/** Time between SIGTERM and SIGKILL, in milliseconds. */
const GRACE = 500;

function terminal() {
  try {
    return fs.openSync('/dev/tty', 'r+');
  } catch (cause) {
    throw new KeyrackError({ code: 'prompt_needed', exit: 2, message: 'there is no terminal to prompt at', hint: "run it in a terminal, or use prompt: 'never'", cause });
  }
}

/**
 * Runs `keyrack` with arguments and resolves, once it has been reaped, to its output. Rejects if it
 * could not run, did not finish within `timeoutMs`, or was aborted by `signal`.
 *
 * @param {string[]} args @param {{ secret?: Buffer, discard?: boolean, prompt: 'never' | 'tty',
 * signal?: AbortSignal, timeoutMs?: number }} how `secret` is wiped when done; `discard` keeps
 * nothing of stdout. @returns {Promise<{ status: number | null, stdout: string, stderr: string }>}
 */
function keyrack(args, how) {
  const { secret, discard, prompt, signal, timeoutMs } = ownProperties(how);
  return new Promise((resolve, reject) => {
    const wipe = () => secret?.fill(0);
    let tty;
    let child;
    try {
      if (signal?.aborted) throw abortError(signal);
      const file = binaryPath();
      if (prompt === 'tty') tty = terminal();
      child = spawn(file, args, ownProperties({
        cwd: directory(),
        // Node hands on what an environment inherits, too.
        env: ownProperties({ ...process.env, KEYRACK_INVOKED_AS: invokedAs() }),
        stdio: [secret ? 'pipe' : (tty ?? 'ignore'), discard ? 'ignore' : 'pipe', 'pipe'],
        // In a session of its own it has no terminal, so nothing it runs can ask there; and it is
        // ended with all it started.
        detached: prompt === 'never',
      }));
    } catch (error) {
      wipe();
      reject(error instanceof KeyrackError ? error : notStarted(error));
      return;
    } finally {
      if (tty !== undefined) fs.closeSync(tty);
    }

    let failure;
    let killer;
    const send = (name) => {
      try {
        if (prompt === 'never') process.kill(-child.pid, name);
        else child.kill(name);
      } catch {
        // It has just exited.
      }
    };
    const end = (error) => {
      if (failure) return;
      failure = error;
      if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
      send('SIGTERM');
      killer = setTimeout(() => send('SIGKILL'), GRACE);
    };

    const timer = timeoutMs && setTimeout(() => end(new KeyrackError({ code: 'timed_out', message: `keyrack ${args[0]} did not finish within ${timeoutMs} ms` })), timeoutMs);
    const abort = () => end(abortError(signal));
    signal?.addEventListener('abort', abort, { once: true });

    const out = [];
    let length = 0;
    child.stdout?.on('data', (chunk) => {
      length += chunk.length;
      if (length <= STDOUT_LIMIT) out.push(chunk);
      else end(new KeyrackError({ code: 'internal', message: `keyrack ${args[0]} printed more than ${STDOUT_LIMIT} bytes` }));
    });
    let err = Buffer.alloc(0);
    child.stderr.on('data', (chunk) => {
      err = Buffer.concat([err, chunk]).subarray(-STDERR_KEPT);
    });

    const settle = (status) => {
      clearTimeout(timer);
      clearTimeout(killer);
      signal?.removeEventListener('abort', abort);
      wipe();
      const stderr = err.toString('utf8').trim();
      if (failure) {
        if (stderr && failure instanceof KeyrackError) failure.detail = stderr;
        reject(failure);
        return;
      }
      resolve({ status, stdout: Buffer.concat(out).toString('utf8'), stderr });
    };
    child.on('error', (cause) => {
      failure ??= notStarted(cause, child.spawnfile);
      // Without a process there is no 'close' to wait for.
      if (child.pid === undefined) settle(null);
    });
    child.on('close', settle);

    if (secret) {
      // A child that exits without reading its input reports the reason.
      child.stdin.on('error', () => {});
      child.stdin.end(secret, wipe);
    }
  });
}

const notStarted = (cause, file = 'keyrack') => new KeyrackError(require('./diagnose.js').notStarted(cause, file));

function abortError(signal) {
  return new KeyrackError({ code: 'aborted', message: 'the call was aborted by its signal', cause: signal.reason });
}

module.exports = { keyrack };
