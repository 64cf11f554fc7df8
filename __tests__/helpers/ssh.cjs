'use strict';
// A fresh ed25519 key as ssh-keygen would write it, without a passphrase (the openssh-key-v1
// format, PROTOCOL.key of OpenSSH), and the age identity that belongs to it.

const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const field = (bytes) => {
  const body = Buffer.from(bytes);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  return Buffer.concat([length, body]);
};

/** Writes `~/.ssh/id_ed25519` and its `.pub` into a home. Returns the seed. */
function writeSshKey(home, name = 'id_ed25519') {
  const { privateKey, publicKey } = crypto.generateKeyPairSync('ed25519');
  const seed = Buffer.from(privateKey.export({ format: 'jwk' }).d, 'base64url');
  const point = Buffer.from(publicKey.export({ format: 'jwk' }).x, 'base64url');
  const blob = Buffer.concat([field('ssh-ed25519'), field(point)]);
  const check = crypto.randomBytes(4);
  let secret = Buffer.concat([check, check, blob, field(Buffer.concat([seed, point])), field('test')]);
  for (let pad = 1; secret.length % 8 !== 0; pad += 1) secret = Buffer.concat([secret, Buffer.from([pad])]);
  const one = Buffer.from([0, 0, 0, 1]);
  const whole = Buffer.concat([Buffer.from('openssh-key-v1\0'), field('none'), field('none'), field(''), one, field(blob), field(secret)]);
  const lines = whole.toString('base64').replace(/.{70}/g, '$&\n');
  const dir = path.join(home, '.ssh');
  fs.mkdirSync(dir, { recursive: true, mode: 0o700 });
  fs.writeFileSync(path.join(dir, name), `-----BEGIN OPENSSH PRIVATE KEY-----\n${lines}\n-----END OPENSSH PRIVATE KEY-----\n`, { mode: 0o600 });
  fs.writeFileSync(path.join(dir, `${name}.pub`), `ssh-ed25519 ${blob.toString('base64')} test\n`);
  return seed;
}

/**
 * The X25519 secret of an ed25519 seed, as every keyrack derives it: the first half of its SHA-512.
 */
const ageScalar = (seed) => crypto.createHash('sha512').update(seed).digest().subarray(0, 32);

module.exports = { ageScalar, writeSshKey };
