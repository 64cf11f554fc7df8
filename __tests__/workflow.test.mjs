// The workflows that check and release: that they parse, that what they call is there, and that
// they may do no more than they have to.

import { describe, expect, it } from 'vitest';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { load } from 'js-yaml';
import { PLATFORMS } from '../scripts/platforms.mjs';
import { spawnSync } from 'node:child_process';

const root = new URL('..', import.meta.url).pathname;
const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const workflows = readdirSync(join(root, '.github/workflows')).map((file) => [file, load(readFileSync(join(root, '.github/workflows', file), 'utf8'))]);
const steps = workflows.flatMap(([file, { jobs }]) => Object.entries(jobs).flatMap(([job, { steps: all }]) => all.map((step) => ({ ...step, at: `${file}: ${job}` }))));
const commands = steps.filter((step) => step.run);

describe('a workflow', () => {
  it.each(workflows)('%s grants no more than it needs', (file, { permissions, jobs }) => {
    expect(permissions).toStrictEqual({ contents: 'read' });
    for (const [name, job] of Object.entries(jobs)) {
      expect([name, job['timeout-minutes']]).toStrictEqual([name, expect.any(Number)]);
      if (name === 'publish') expect(job.permissions).toStrictEqual({ contents: 'read', 'id-token': 'write' });
      else expect(job).not.toHaveProperty('permissions');
    }
    // What runs with the right to publish under our name installs nothing of ours and runs none of
    // our dependencies.
    const publish = jobs.publish?.steps.map((step) => step.run ?? '').join('\n') ?? '';
    expect(publish).not.toMatch(/npm (ci|test|run (?!release\b))|npm install(?! --global --ignore-scripts npm@\d)/);
  });

  it('uses actions of one commit each, and leaves them no credentials', () => {
    for (const { uses, at, with: given } of steps.filter((step) => step.uses)) {
      expect([at, uses]).toStrictEqual([at, expect.stringMatching(/^actions\/[\w-]+@[0-9a-f]{40}$/)]);
      if (uses.startsWith('actions/checkout@')) expect([at, given]).toStrictEqual([at, { 'persist-credentials': false }]);
    }
  });

  it('puts nothing an author can write into a script', () => {
    for (const { run, at } of commands) expect([at, run]).toStrictEqual([at, expect.not.stringContaining('${{')]);
  });

  it('calls what is there', () => {
    const called = new Set();
    for (const { run, at } of commands) {
      const { status, stderr } = spawnSync('bash', ['-n', '-c', run], { encoding: 'utf8' });
      expect([at, run, status, stderr]).toStrictEqual([at, run, 0, '']);
      for (const [, name] of run.matchAll(/npm run ([\w:]+)/g)) called.add(name);
      for (const [, file] of run.matchAll(/(?:^|[\s/])((?:scripts|\.ci)\/[\w.-]+)/g)) {
        expect([file, existsSync(join(root, file))]).toStrictEqual([file, true]);
        if (file.startsWith('.ci/')) expect(statSync(join(root, file)).mode & 0o111).not.toBe(0);
      }
    }
    expect([...called].sort()).toStrictEqual(['build', 'pack:local', 'release']);
    for (const name of called) expect(scripts).toHaveProperty(name);
  });

  it('releases every platform', () => {
    const [, { jobs }] = workflows.find(([file]) => file === 'release.yml');
    const architectures = jobs.build.strategy.matrix.include.map(({ arch }) => arch);
    const built = jobs.build.steps.flatMap(({ run = '' }) => [...run.matchAll(/npm run build --(.*)/g)].flatMap(([, words]) => [...words.matchAll(/--target "([^"]+)"/g)].map(([, name]) => name)));
    expect(architectures.flatMap((arch) => built.map((name) => name.replace('$ARCH', arch))).sort()).toStrictEqual(PLATFORMS.map(({ name }) => name).sort());
    expect(jobs.publish.needs).toBe('build');
  });
});
