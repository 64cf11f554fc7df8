// The packages as package managers install them, into an empty project: what a user gets, not what
// the checkout has.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { inject } from 'vitest';
import { join } from 'node:path';
import { makeConsumer } from './consumer.mjs';

const SECRET = 'a "secret"\n of two lines, ü';
const READ = "getSync({ for: { key: 'TOKEN' }, env: 'test' }).attempt.grant.key.secret";

describe.each(['npm', 'pnpm', 'yarn'])('installed by %s', (manager) => {
  let consumer;
  const { name, registry } = inject('packed');
  beforeAll(async () => {
    consumer = makeConsumer(manager);
    await consumer.install();
    await consumer.unlockKey(SECRET);
  });
  afterAll(() => consumer?.end());

  const json = async (file, text, options) => JSON.parse(await consumer.node(file, text, options));

  it('takes the platform package of this machine and no other', async () => {
    const found = await json('which.cjs', "console.log(JSON.stringify(require('keyrack/bin').binaryPath()))");
    expect(found).toContain(`/@keyrack/${name}/bin/keyrack`);
    expect(statSync(found).mode & 0o777).toBe(0o755);
    const bytes = readFileSync(found);
    expect(bytes.subarray(0, 4).toString('latin1')).toBe('\x7fELF');
    expect(bytes.equals(readFileSync(new URL(`../../npm/${name}/bin/keyrack`, import.meta.url)))).toBe(true);
    expect(await (await fetch(`${registry}/-/asked`)).json()).not.toContainEqual(expect.stringMatching(`/-/(?!${name})linux-`));
  });

  it('is read by CommonJS', async () => {
    expect(await json('read.cjs', `console.log(JSON.stringify(require('keyrack').${READ}))`)).toBe(SECRET);
  });

  it('is read by ES modules, by name and by default, in one copy', async () => {
    const text = `
      import keyrack, { getSync, get, KeyrackError } from 'keyrack';
      import { binaryPath } from 'keyrack/bin';
      import { createRequire } from 'node:module';
      const common = createRequire(import.meta.url)('keyrack');
      const { attempt } = await get({ for: { key: 'TOKEN' }, env: 'test' });
      console.log(JSON.stringify([${READ}, attempt.grant.key.secret, common.KeyrackError === KeyrackError, keyrack.getSync === getSync, binaryPath('keyrackd').endsWith('keyrackd')]));`;
    expect(await json('read.mjs', text)).toStrictEqual([SECRET, SECRET, true, true, true]);
  });

  it('is read in a worker', async () => {
    const text = `
      const { Worker, isMainThread, parentPort } = require('node:worker_threads');
      if (isMainThread) new Worker(__filename).once('message', (told) => console.log(JSON.stringify(told)));
      else parentPort.postMessage([require('keyrack').${READ}, require('keyrack').source({ env: 'test' }), process.env.TOKEN]);`;
    expect(await json('worker.cjs', text)).toStrictEqual([SECRET, { sourced: ['TOKEN'], kept: [], missing: [] }, SECRET]);
  });

  it('is read by the command, from any directory of the project', async () => {
    const args = ['get', '--key', 'TOKEN', '--env', 'test', '--value'];
    expect(await consumer.keyrack(args)).toMatchObject({ status: 0, stdout: SECRET });
    expect(await consumer.keyrack(['get', '--key', 'NEVER', '--env', 'test'])).toMatchObject({ status: 2 });
    expect(await consumer.keyrack(['no-such-command'])).toMatchObject({ status: 2 });
  });

  it('names a fix that works when pasted', async () => {
    const { attempt } = await json('locked.cjs', "const k = require('keyrack'); k.relock(); console.log(JSON.stringify(k.getSync({ for: { key: 'TOKEN' }, env: 'test' })))");
    expect(attempt).toMatchObject({ status: 'locked', fix: expect.stringMatching(/^(npx|yarn) keyrack unlock --env test --key TOKEN$/) });
    expect(attempt.fix.startsWith('yarn')).toBe(manager === 'yarn');
    const { stdout, stderr } = await consumer.keyrack(['get', '--key', 'TOKEN', '--env', 'test']);
    expect(stdout + stderr).toContain(`${manager === 'npm' ? 'npx' : manager} keyrack unlock --env test --key TOKEN`);
    expect(await consumer.keyrack(attempt.fix.split(' ').slice(2))).toMatchObject({ status: 0 });
    expect(await json('read.cjs', `console.log(JSON.stringify(require('keyrack').${READ}))`)).toBe(SECRET);
  });

  it('changes what is there, by the binary of the package', async () => {
    const text = `
      const { get, set, del } = require('keyrack');
      (async () => {
        await set({ key: 'OTHER', env: 'test', vault: 'os.secure', mech: 'PERMANENT_VIA_REPLICA', secret: 'o' });
        const { attempt } = await get({ for: { key: 'OTHER' }, env: 'test', with: { unlock: true } });
        console.log(JSON.stringify([attempt.grant.key.secret, (await del({ key: 'OTHER', env: 'test' })).effect]));
      })();`;
    expect(await json('change.cjs', text)).toStrictEqual(['o', 'deleted']);
  });

  it('leaves nothing in a zip that has to be run', async () => {
    if (manager !== 'yarn') return;
    expect(readdirSync(join(consumer.directory, '.yarn/unplugged')).map((each) => each.split('-npm-')[0]).sort()).toStrictEqual([`@keyrack-${name}`, 'keyrack']);
    expect(existsSync(join(consumer.directory, 'node_modules'))).toBe(false);
  });
});
