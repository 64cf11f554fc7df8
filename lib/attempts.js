'use strict';
// Attempts, made by functions that the addon calls with the members. So every object is of the
// caller's own realm (napi makes objects of the realm that loaded the addon: another one under
// jest), and every member is defined by a literal, past a setter of its name on `Object.prototype`.

const { defineProperty } = require('./own_properties.js');
const { ErasableSecret } = require('./secret.js');

/** Returns a view of a buffer as a Uint8Array of this realm, whatever realm the buffer is of. */
const ownView = ({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength);

/** Hands out a secret: a string as it is, bytes as an `ErasableSecret`. */
const secretOf = (secret) => (typeof secret === 'string' ? secret : new ErasableSecret(ownView(secret)));

/** Makes a granted attempt. `null` stands for a member that is not there. */
function grantedAttempt(secret, slug, protection, duration, vault, mech, env, org, expiresAt, belowDeclared, note) {
  const key = { secret: secretOf(secret), grade: { protection, duration } };
  const source = { vault, mech };
  const grant = expiresAt === null ? { slug, key, source, env, org } : { slug, key, source, env, org, expiresAt };
  const attempt = { status: 'granted', grant };
  if (belowDeclared) defineProperty(attempt, 'belowDeclared', true);
  if (note !== null) defineProperty(attempt, 'note', note);
  return attempt;
}

/**
 * Makes an attempt that is not granted. `message` has the reasons of a blocked one, with a NUL
 * between them.
 */
function missedAttempt(status, slug, message, fix, note, waived) {
  const blocked = status === 'blocked';
  const attempt = blocked ? { status, slug, reasons: message.split('\0'), fix } : { status, slug, message };
  if (!blocked && fix !== null) defineProperty(attempt, 'fix', fix);
  if (note !== null) defineProperty(attempt, 'note', note);
  if (waived) defineProperty(attempt, 'waived', true);
  return attempt;
}

/** Copies what the tree shows of an attempt: no secret, and nothing that the caller can change. */
function withoutSecret({ status, slug, grant, reasons, fix, note, waived }) {
  if (grant === undefined) return { status, slug, reasons: reasons && [...reasons], fix, note, waived };
  return { status, grant: { slug: grant.slug, source: { vault: grant.source.vault, mech: grant.source.mech } }, fix, note, waived };
}

/**
 * Returns the member `emit` of a result. The tree is rendered when `stdout` is first read.
 *
 * @param {object[]} entries what `withoutSecret` returned
 */
function lazyTree(entries, color) {
  const emit = {
    get stdout() {
      const { formatKeyrackGetAllOutput } = require('./format.js');
      const stdout = formatKeyrackGetAllOutput({ attempts: entries, color });
      defineProperty(emit, 'stdout', stdout);
      return stdout;
    },
    set stdout(value) {
      defineProperty(emit, 'stdout', value);
    },
  };
  return emit;
}

/** Adds an element to an array, past a setter of its index on `Object.prototype`. */
const append = (array, element) => defineProperty(array, array.length, element);

module.exports = { append, grantedAttempt, lazyTree, missedAttempt, withoutSecret };
