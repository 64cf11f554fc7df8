// Code around the virtual machines, tested without one: headers of scenarios, results, keys of the
// cache, arguments.

import { describe, expect, it } from 'vitest';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { compareVersions, kernelNamed, KERNELS } from '../scripts/vm/kernels.mjs';
import { groupByMachine, parseScenario, readScenarios, reasonNotRun } from '../scripts/vm/scenario.mjs';
import { isUnreachable, kernelPackages, missingPackages, recipeHash, sourceVersion } from '../scripts/vm/image.mjs';
import { parseLine, Report, table, tables } from '../scripts/vm/report.mjs';
import { qemuArguments } from '../scripts/vm/machine.mjs';

const root = new URL('..', import.meta.url).pathname;
const directory = join(root, 'scripts/vm/scenarios');
const vm = (...args) => spawnSync(process.execPath, [join(root, 'scripts/vm.mjs'), ...args], { encoding: 'utf8', env: { ...process.env, KEYRACK_VM_CACHE: '/nonexistent/keyrack-vm' } });

describe('a scenario header', () => {
  it('has a description and defaults', () => {
    expect(parseScenario('a', '# One thing,\n# and more of it.\n\nopen_session one\n# needs: linux 9.9\n')).toStrictEqual({
      name: 'a', description: 'One thing, and more of it.', linux: null, machine: { memory: 768, swap: 0, append: [], alone: false }, seconds: 180,
    });
  });

  it('says what it needs', () => {
    const text = '# One thing.\n# needs: linux 6.5\n# machine: memory=512 swap=1024 append=secretmem.enable=1 append=b alone\n# seconds: 90\n';
    expect(parseScenario('a', text)).toMatchObject({ linux: '6.5', machine: { memory: 512, swap: 1024, append: ['secretmem.enable=1', 'b'], alone: true }, seconds: 90 });
  });

  it.each([
    ['no description', 'open_session one\n', 'no description'],
    ['an unknown key', '# One.\n# need: linux 6.5\n', 'invalid header "need: linux 6.5"'],
    ['an unknown need', '# One.\n# needs: windows 6.5\n', 'invalid header "needs: windows 6.5"'],
    ['an unknown word for the machine', '# One.\n# machine: memory=512 cpus=4\n', 'invalid header'],
    ['no time limit', '# One.\n# seconds: 0\n', 'invalid header "seconds: 0"'],
  ])('is refused with %s', (_, text, message) => {
    expect(() => parseScenario('a', text)).toThrow(message);
  });

  it('of each scenario can be read, and its script parsed', () => {
    const scenarios = readScenarios(directory);
    expect(scenarios.slice(0, 2).map(({ name }) => name)).toStrictEqual(['kernel', 'session']);
    const scripts = [...scenarios.map(({ name }) => `scenarios/${name}`), 'guest/lib', 'guest/run', 'root', 'initrd'].map((name) => join(root, 'scripts/vm', `${name}.sh`));
    for (const script of scripts) expect([script, spawnSync('bash', ['-n', script], { encoding: 'utf8' }).stderr]).toStrictEqual([script, '']);
  });
});

describe('scenarios', () => {
  const scenario = (name, machine = {}) => ({ name, machine: { memory: 768, swap: 0, append: [], alone: false, ...machine } });

  it('share a machine when they ask for the same', () => {
    const groups = groupByMachine([scenario('a'), scenario('b', { swap: 1024 }), scenario('c'), scenario('d', { alone: true }), scenario('e', { alone: true })]);
    expect(groups.map((group) => group.map(({ name }) => name))).toStrictEqual([['a', 'c'], ['b'], ['d'], ['e']]);
  });

  it('stand in SECURITY.md with what they show', () => {
    const rows = [...readFileSync(join(root, 'SECURITY.md'), 'utf8').matchAll(/^\| ([a-z]+): (.*?) +\|/gm)].map(([, name, description]) => [name, description]);
    expect(rows).toStrictEqual(readScenarios(directory).map(({ name, description }) => [name, description]));
  });

  it.each([
    ['6.5', '6.1.0-50-amd64', 'needs Linux 6.5'],
    ['6.5', '6.12.117+deb13-amd64', null],
    ['6.12', '6.5.0-1-amd64', 'needs Linux 6.12'],
    ['5.10', '5.10.0-32-amd64', null],
    [null, '5.10.0-32-amd64', null],
  ])('that need %s on %s: %s', (linux, version, reason) => {
    expect(reasonNotRun({ linux }, version)).toBe(reason);
  });
});

describe('a line of results', () => {
  it.each([
    ['vm ok the session reads', { kind: 'ok', check: 'the session reads' }],
    ['vm FAILED the session reads: expected "a: b", got "c"', { kind: 'failed', check: 'the session reads', detail: 'expected "a: b", got "c"' }],
    ['vm FAILED the session reads', { kind: 'failed', check: 'the session reads', detail: '' }],
    ['vm not run secret memory: this kernel has none', { kind: 'not run', check: 'secret memory', detail: 'this kernel has none' }],
    ['vm fact memory=secret=1', { kind: 'fact', name: 'memory', value: 'secret=1' }],
    ['vm scenario session', { kind: 'scenario', text: 'session' }],
    ['vm all done', { kind: 'all done', text: '' }],
    ['vm host boot again', { kind: 'host', text: 'boot again' }],
    ['vm okay', null],
    ['ok the session reads', null],
    ['said by a command: vm ok nothing', null],
  ])('%s', (line, result) => {
    expect(parseLine(line)).toStrictEqual(result);
  });

  it('is counted for its scenario', () => {
    const report = new Report('6.12.117');
    for (const line of ['vm FAILED init: no', 'vm scenario a', 'vm ok one', 'noise', 'vm FAILED two: why', 'vm fact memory=secret', 'vm end a', 'vm scenario b', 'vm ok one', 'vm end b', 'vm scenario c']) report.add(line);
    expect([report.count('ok'), report.count('failed'), report.count('failed', 'setup')]).toStrictEqual([2, 2, 1]);
    expect(['a', 'b', 'c'].map((name) => report.summary(name))).toStrictEqual(['FAILED (1 of 2)', 'ok (1)', '']);
    expect([...report.ended]).toStrictEqual(['a', 'b']);
    const other = new Report('6.1.0');
    other.record('a', 'not run', 'the scenario', 'needs Linux 6.5');
    expect(tables([other, report], [{ name: 'a' }])).toBe(
      ['| fact   | 6.1.0 | 6.12.117 |', '|--------|-------|----------|', '| memory |       | secret   |', '', '| scenario | 6.1.0   | 6.12.117        |', '|----------|---------|-----------------|', '| a        | not run | FAILED (1 of 2) |'].join('\n'),
    );
  });

  it('does not break a table', () => {
    expect(table(['a'], [['b|c']])).toBe('| a    |\n|------|\n| b\\|c |');
  });
});

describe('kernels', () => {
  it('are ordered by number, not by text', () => {
    expect(['6.12.1', '5.10.0-3', '6.1.0', '7.3.4+deb13-amd64'].sort(compareVersions)).toStrictEqual(['5.10.0-3', '6.1.0', '6.12.1', '7.3.4+deb13-amd64']);
  });

  it('have names of their own', () => {
    expect(new Set(KERNELS.map(({ name }) => name)).size).toBe(KERNELS.length);
    expect(kernelNamed('6.12').suite).toBe('trixie');
    expect(() => kernelNamed('6.13')).toThrow('unknown kernel "6.13": use 5.10');
  });

  it('are the packages that a meta package depends on', () => {
    const depends = 'linux-image-amd64\n  Depends: linux-image-7.3.4+deb13-amd64\nlinux-base-amd64\nlinux-image-7.3.4+deb13-amd64\nlinux-base-7.3.4+deb13-amd64\nlinux-binary-7.3.4+deb13-amd64\nlinux-modules-7.3.4+deb13-amd64\nlinux-image-7.3.4+deb13-amd64\n<linux-image-1>\n';
    expect(kernelPackages(depends)).toStrictEqual(['linux-image-7.3.4+deb13-amd64', 'linux-binary-7.3.4+deb13-amd64', 'linux-modules-7.3.4+deb13-amd64']);
  });
});

describe('the version of a kernel', () => {
  it.each([
    ['linux-image-5.10.0-32-amd64_5.10.223-1_amd64.deb', '5.10.223'],
    ['linux-image-7.3.4+deb13-amd64_7.3.4-1~bpo13+1_amd64.deb', '7.3.4'],

    ['linux-image-5.15.0-25-generic_5.15.0-25.25_amd64.deb', '5.15.0'],
  ])('of %s is %s', (archive, version) => {
    expect(sourceVersion(archive)).toBe(version);
  });
});

describe('the cache', () => {
  it('has a key for each recipe', () => {
    const key = recipeHash({ packages: ['a'] }, 'script');
    expect(key).toMatch(/^[0-9a-f]{12}$/);
    expect(recipeHash({ packages: ['a'] }, 'script')).toBe(key);
    expect(recipeHash({ packages: ['b'] }, 'script')).not.toBe(key);
    expect(recipeHash({ packages: ['a'] }, 'script.')).not.toBe(key);
  });

  it('knows an archive that does not answer from a recipe that fails', () => {
    expect(isUnreachable('E: Failed to fetch http://deb.debian.org/debian/dists/bookworm/InRelease  Temporary failure resolving')).toBe(true);
    expect(isUnreachable("E: Unable to locate package no-such-package\nE: chroot failed")).toBe(false);
  });

  it('names the packages that are missing', () => {
    expect(missingPackages({ sh: 'dash', 'no-such-program': 'qemu-system-x86', 'no-such-one': 'qemu-system-x86' }, { '/no/such/file': 'seabios', '/': 'base-files' })).toStrictEqual(['qemu-system-x86', 'seabios']);
  });
});

describe('a machine', () => {
  const machine = { kernel: { vmlinuz: '/k/vmlinuz', initrd: '/k/initrd' }, drives: ['/root.img', '/share.tar'], memory: 640, append: ['secretmem.enable=1'], keep: false, monitor: '/m', console: '/c' };

  it('leaves the cached drive as it is', () => {
    const drives = qemuArguments(machine).filter((each) => each.startsWith('file=/'));
    expect(drives).toStrictEqual(['file=/root.img,format=raw,if=virtio,index=0,cache=unsafe,snapshot=on', 'file=/share.tar,format=raw,if=virtio,index=1,cache=unsafe,snapshot=on']);
    expect(qemuArguments({ ...machine, keep: true }).join(' ')).toContain('index=0,cache=unsafe,snapshot=off');
  });

  it('has no network, and what its scenario asks for', () => {
    const args = qemuArguments(machine);
    expect(args).toContain('-nodefaults');
    expect(args.join(' ')).not.toMatch(/netdev|-nic|-net /);
    expect(args[args.indexOf('-append') + 1]).toContain(' secretmem.enable=1');
    expect(args[args.indexOf('-m') + 1]).toBe('640');
  });
});

describe('the command', () => {
  it('lists kernels and scenarios', () => {
    const { status, stdout } = vm('--list');
    expect(status).toBe(0);
    for (const name of [...KERNELS, ...readScenarios(directory)].map((each) => each.name)) expect(stdout).toMatch(new RegExp(`^  ${name.replace('.', '\\.')} `, 'm'));
  });

  it.each([
    [['--kernel', '2.6'], 'unknown kernel "2.6"'],
    [['--scenario', 'none'], 'unknown scenario "none"'],
    [['--nope'], "Unknown option '--nope'"],
    ...(process.arch === 'x64' ? [[['--bin', '/nonexistent'], 'cannot find /nonexistent/keyrack\nfix: npm run build']] : []),
  ])('refuses %j', (args, message) => {
    const { status, stderr } = vm(...args);
    expect(stderr).toContain(message);
    expect(status).toBe(2);
  });

  it('runs in CI with a kernel and scenarios that are there', () => {
    const ci = readFileSync(join(root, '.ci/run'), 'utf8');
    const [, args] = /npm run test:vm -- (.*?);/.exec(ci);
    expect(vm('--list', ...args.split(' ')).status).toBe(0);
    for (const name of ['qemu-system-x86', 'seabios', 'mmdebstrap', 'e2fsprogs', 'cpio', 'kmod', 'xz-utils', 'debian-archive-keyring']) expect(ci).toContain(` ${name}`);
  });
});
