// One virtual machine: qemu without KVM, its results as lines, and its end.

import { createWriteStream, existsSync } from 'node:fs';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { spawn } from 'node:child_process';

/** Programs that a machine runs on, and the Debian package of each. */
export const MACHINE_PROGRAMS = { 'qemu-system-x86_64': 'qemu-system-x86', tar: 'tar' };
/** The firmware, where Debian has it. */
const FIRMWARE = '/usr/share/seabios/bios-256k.bin';
export const MACHINE_FILES = existsSync('/usr/share/qemu/bios-256k.bin') ? {} : { [FIRMWARE]: 'seabios' };

/** What `onLine` returns to end the machine. */
export const STOP = Symbol('stop');

const running = new Set();

/** Ends every machine that this process started. */
export function killMachines() {
  for (const child of running) child.kill('SIGKILL');
}

/**
 * Arguments of qemu for a machine. `drives` are paths: the root drive, the share, and a swap drive
 * if there is one.
 */
export function qemuArguments({ kernel, drives, memory, append, keep, monitor, console }) {
  const words = ['root=/dev/vda', 'rw', 'console=ttyS0', 'quiet', 'mitigations=off', 'panic=-1', ...append];
  const drive = (path, index) => ['-drive', `file=${path},format=raw,if=virtio,index=${index},cache=unsafe,snapshot=${keep ? 'off' : 'on'}`];
  return [
    '-machine', 'pc', '-accel', 'tcg,thread=multi', '-cpu', 'max', '-smp', '2', '-m', String(memory), '-display', 'none', '-nodefaults', '-no-reboot',
    '-kernel', kernel.vmlinuz, '-initrd', kernel.initrd, '-append', words.join(' '), ...drives.flatMap(drive),
    '-serial', `file:${console}`, '-chardev', 'stdio,id=results,signal=off', '-serial', 'chardev:results', '-monitor', `unix:${monitor},server=on,wait=off`,
  ];
}

/** Sends one command to qemu's monitor. */
function command(monitor, text) {
  return new Promise((resolve, reject) => {
    const socket = connect(monitor, () => socket.end(`${text}\n`));
    socket.on('error', reject).on('close', resolve).resume();
  });
}

/** Stops the machine for some seconds, as its host may. */
async function pause(monitor, seconds) {
  await command(monitor, 'stop');
  await sleep(seconds * 1000);
  await command(monitor, 'cont');
}

/**
 * Boots a machine and gives each line of results to `onLine`, until it powers off, `seconds` have
 * passed, or `onLine` returns STOP. Resolves to how it ended: `off`, `timeout`, `stopped`, or the
 * error of qemu. A line `vm host pause N` stops it for N seconds.
 */
export async function boot({ directory, log, seconds, ...machine }, onLine) {
  const monitor = join(directory, 'monitor');
  const child = spawn('qemu-system-x86_64', qemuArguments({ ...machine, monitor, console: `${log}.console` }), { stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child);
  const kept = createWriteStream(log, { flags: 'a' });
  let killed = null;
  let stderr = '';
  const kill = (reason) => {
    killed ??= reason;
    child.kill('SIGKILL');
  };
  child.stderr.on('data', (chunk) => (stderr += chunk));
  const timer = setTimeout(kill, seconds * 1000, 'timeout');
  const lines = createInterface({ input: child.stdout, crlfDelay: Infinity });
  lines.on('line', (line) => {
    kept.write(`${line}\n`);
    const request = /^vm host pause ([0-9]{1,4})$/.exec(line);
    if (request) pause(monitor, Number(request[1])).catch((error) => kept.write(`cannot pause the machine: ${error.message}\n`));
    if (onLine(line) === STOP) kill('stopped');
  });
  try {
    const [status, signal] = await new Promise((resolve, reject) => child.on('error', reject).on('close', (...ended) => resolve(ended)));
    if (killed) return killed;
    return status === 0 ? 'off' : `qemu ${signal ? `ended by ${signal}` : `failed with exit code ${status}`}: ${stderr.trim()}`;
  } finally {
    clearTimeout(timer);
    running.delete(child);
    kept.end(stderr);
  }
}
