// Files that today's TypeScript keyrack wrote, by npm's age-encryption, and files it has to be able
// to read: the same home in both directions.

import { afterAll, beforeAll, expect, it } from 'vitest';
import { createRequire } from 'node:module';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Decrypter, Encrypter, armor, identityToRecipient } from 'age-encryption';

const require = createRequire(import.meta.url);
const { bin, canRun, makeHome, run } = require('./helpers/home.cjs');
const { ageScalar, writeSshKey } = require('./helpers/ssh.cjs');
// What age-encryption itself writes its keys with.
const { bech32 } = await import(createRequire(require.resolve('age-encryption')).resolve('@scure/base'));

let home;
let identity;
const rack = (...parts) => join(home.home, '.rhachet', 'keyrack', ...parts);
const blob = (slug) => rack('vault', 'os.secure', 'owner=default', `${createHash('sha256').update(slug).digest('hex').slice(0, 16)}.age`);
const keyrack = (args, input) => run(bin('keyrack'), args, { cwd: home.repo, env: home.env, input });

async function encrypted(text) {
  const encrypter = new Encrypter();
  encrypter.addRecipient(await identityToRecipient(identity));
  return armor.encode(await encrypter.encrypt(text));
}

async function decrypted(file, as = 'text') {
  const decrypter = new Decrypter();
  decrypter.addIdentity(identity);
  return decrypter.decrypt(armor.decode(readFileSync(file, 'utf8')), as);
}

beforeAll(() => {
  home = makeHome();
  identity = bech32.encodeFromBytes('AGE-SECRET-KEY-', ageScalar(writeSshKey(home.home))).toUpperCase();
  home.manifest('org: acme\nenv.test:\n  - FROM_NPM\n');
});
afterAll(async () => {
  await keyrack(['daemon', 'stop']);
  home?.remove();
});

it('a rack that rhachet wrote is opened, and its unknown fields are kept', async () => {
  const time = '2026-01-01T00:00:00.000Z';
  const host = (slug, more) => ({ slug, mech: 'PERMANENT_VIA_REPLICA', vault: 'os.secure', exid: null, env: 'test', org: 'acme', meta: null, maxDuration: null, createdAt: time, updatedAt: time, ...more });
  const manifest = {
    uri: '~/.rhachet/keyrack/keyrack.host.age',
    owner: null,
    recipients: [{ mech: 'age', pubkey: await identityToRecipient(identity), label: 'default', addedAt: time }],
    hosts: { 'acme.test.FROM_NPM': host('acme.test.FROM_NPM'), 'acme.test.LATER': host('acme.test.LATER', { vault: 'vault.of.tomorrow', reach: 'x' }) },
  };
  mkdirSync(rack('vault', 'os.secure', 'owner=default'), { recursive: true, mode: 0o700 });
  writeFileSync(rack('keyrack.host.age'), await encrypted(JSON.stringify(manifest, null, 2)));
  writeFileSync(blob('acme.test.FROM_NPM'), await encrypted('written by npm\nü'));

  expect(await keyrack(['unlock', '--env', 'test', '--duration', '10m'])).toMatchObject({ status: 0 });
  expect(await keyrack(['get', '--key', 'FROM_NPM', '--env', 'test', '--value'])).toMatchObject({ status: 0, stdout: 'written by npm\nü' });

  expect(await keyrack(['set', '--key', 'BACK', '--env', 'test', '--vault', 'os.secure', '--mech', 'PERMANENT_VIA_REPLICA'], 'written by keyrack')).toMatchObject({ status: 0 });
  const after = JSON.parse(await decrypted(rack('keyrack.host.age')));
  expect(after.hosts['acme.test.LATER']).toStrictEqual(manifest.hosts['acme.test.LATER']);
  expect(after.hosts['acme.test.FROM_NPM']).toStrictEqual(manifest.hosts['acme.test.FROM_NPM']);
  expect(after.recipients).toStrictEqual(manifest.recipients);
  expect(after.uri).toBe(manifest.uri);
});

it('a rack that keyrack wrote is opened by rhachet', async () => {
  expect(await decrypted(blob('acme.test.BACK'))).toBe('written by keyrack');
  const { hosts } = JSON.parse(await decrypted(rack('keyrack.host.age')));
  expect(hosts['acme.test.BACK']).toMatchObject({ slug: 'acme.test.BACK', mech: 'PERMANENT_VIA_REPLICA', vault: 'os.secure', exid: null, env: 'test', org: 'acme' });
  for (const field of ['exid', 'meta', 'maxDuration', 'createdAt', 'updatedAt']) expect(hosts['acme.test.BACK']).toHaveProperty(field);
  const bytes = Buffer.from(Array.from({ length: 3000 }, (_, index) => index % 256));
  expect(await keyrack(['set', '--key', 'BYTES', '--env', 'test', '--vault', 'os.secure', '--mech', 'PERMANENT_VIA_REPLICA'], bytes)).toMatchObject({ status: 0 });
  expect(Buffer.from(await decrypted(blob('acme.test.BYTES'), 'uint8array')).equals(bytes)).toBe(true);
});

it('the binding of a file to its key is ignored by rhachet, and cannot be edited or removed', async () => {
  const header = (bytes) => Buffer.from(bytes).toString('latin1');
  const whole = header(armor.decode(readFileSync(blob('acme.test.BACK'), 'utf8')));
  const stanza = /-> keyrack-bind v1 [A-Za-z0-9+/]{43}\n\n/;
  expect(whole).toMatch(stanza);
  const open = (text) => {
    const decrypter = new Decrypter();
    decrypter.addIdentity(identity);
    return decrypter.decrypt(Buffer.from(text, 'latin1'), 'text');
  };
  expect(await open(whole)).toBe('written by keyrack');
  await expect(open(whole.replace(stanza, ''))).rejects.toThrow(/MAC/);
  await expect(open(whole.replace(/(keyrack-bind v1 )./, '$1='))).rejects.toThrow();
  await expect(open(whole.replace(/(keyrack-bind v1 )(.)/, (_, tag, first) => tag + (first === 'A' ? 'B' : 'A')))).rejects.toThrow(/MAC/);
});

it('doctor reports a file of rhachet as unbound, and the next set binds it', async () => {
  const doctor = async () => JSON.parse((await keyrack(['doctor', '--json'])).stdout).checks.filter((check) => check.name === 'rack.binding');
  expect(await doctor()).toMatchObject([{ state: 'warn', message: expect.stringContaining('acme.test.FROM_NPM') }]);
  expect(await keyrack(['set', '--key', 'FROM_NPM', '--env', 'test', '--vault', 'os.secure', '--mech', 'PERMANENT_VIA_REPLICA'], 'set again')).toMatchObject({ status: 0 });
  expect(await doctor()).toStrictEqual([]);
  expect(await decrypted(blob('acme.test.FROM_NPM'))).toBe('set again');
  // Bound now: what npm writes without telling the manifest is not taken for it.
  writeFileSync(blob('acme.test.FROM_NPM'), await encrypted('written by npm again'));
  expect(await doctor()).toMatchObject([{ state: 'fail', message: expect.stringContaining('is not bound') }]);
  expect(await keyrack(['unlock', '--key', 'FROM_NPM', '--env', 'test'])).toMatchObject({ status: 2 });
  expect(await keyrack(['set', '--key', 'FROM_NPM', '--env', 'test', '--vault', 'os.secure', '--mech', 'PERMANENT_VIA_REPLICA'], 'and again')).toMatchObject({ status: 0 });
});

it('a rack that keyrack wrote is opened by the age program with the ssh key', async () => {
  if (!canRun('a rack that keyrack wrote is opened by the age program with the ssh key', 'age')) return;
  // The age program converts no ssh key to X25519, so it is given the identity; a recipient with an
  // ssh stanza it opens by the key.
  const key = join(home.base, 'identity.txt');
  writeFileSync(key, `${identity}\n`, { mode: 0o600 });
  expect(await run('age', ['-d', '-i', key, blob('acme.test.BACK')], { env: home.env })).toMatchObject({ status: 0, stdout: 'written by keyrack' });
  const pub = readFileSync(join(home.home, '.ssh', 'id_ed25519.pub'), 'utf8').trim();
  expect(await keyrack(['recipient', 'set', '--pubkey', pub, '--label', 'stanza', '--stanza', 'ssh'])).toMatchObject({ status: 0 });
  expect(await run('age', ['-d', '-i', join(home.home, '.ssh', 'id_ed25519'), blob('acme.test.BACK')], { env: home.env })).toMatchObject({ status: 0, stdout: 'written by keyrack' });
  expect(await decrypted(blob('acme.test.BACK'))).toBe('written by keyrack');
});
