'use strict';
// get and getSync: read keys from the daemon, then from this realm's process.env, in one call of
// the addon.

const { append, grantedAttempt, lazyTree, missedAttempt, withoutSecret } = require('./attempts.js');
const { binding, bindingOrNull } = require('./binding.js');
const { EARLY_NAMES, callContext, contextVariable, directory, withOwnership } = require('./call_context.js');
const { decodeReply } = require('./decode.js');
const { KeyrackError } = require('./error.js');
const { closeWhenIdle } = require('./idle.js');
const { allowsDangerous, unlockLocked } = require('./mutations.js');
const { argumentError, validateBoolean, validateOneOf, validateOptions, validateSignal, validateString, validateStrings, validateTimeout } = require('./validate.js');

/** Default time that the daemon may take to answer, in milliseconds. */
const DEADLINE_MS = 2000;

const READ = ['for', 'env', 'org', 'owner', 'allow', 'as', 'color', 'timeoutMs'];
const UNLOCK = ['with', 'prikey', 'prompt', 'signal'];

/**
 * Returns the values of variables of this realm, `null` for those not set. Gets their names as one
 * text, with a NUL between them.
 */
const lookUp = (names) => names.split('\0').map((name) => contextVariable(name) ?? null);

/** Validates the options of a get. */
function buildRequest(call, input) {
  const target = validateOptions(`${call}: for`, input.for, ['repo', 'key']);
  const key = validateString(`${call}: for.key`, target.key);
  const repo = validateBoolean(`${call}: for.repo`, target.repo);
  if (repo === (key !== undefined)) throw argumentError(`${call}: for must be { key } or { repo: true }`);
  const owner = validateString(`${call}: owner`, input.owner);
  const env = validateString(`${call}: env`, input.env);
  const org = validateString(`${call}: org`, input.org);
  const timeoutMs = validateTimeout(`${call}: timeoutMs`, input.timeoutMs, DEADLINE_MS);
  return {
    context: callContext(owner, timeoutMs, directory(), EARLY_NAMES),
    key,
    keys: undefined,
    env,
    org,
    dangerous: allowsDangerous(call, input.allow),
    buffer: validateOneOf(`${call}: as`, input.as, ['string', 'buffer']) === 'buffer',
    color: validateBoolean(`${call}: color`, input.color),
  };
}

/** Flags of a read (`crates/keyrack-node/src/get.rs`). */
const ALLOW_DANGEROUS = 1;
const AS_BUFFERS = 2;
const SEVERAL = 4;

/** Reads the keys of a request, with `keys` several ones. */
function readKeys(request) {
  const { color } = request;
  if (request.key !== undefined) {
    let attempt;
    const warnings = readInto(request, (each) => (attempt = each));
    const emit = lazyTree([withoutSecret(attempt)], color);
    return warnings === null ? { attempt, emit } : { attempt, emit, warnings };
  }
  const attempts = [];
  const warnings = readInto(request, (each) => append(attempts, each));
  const emit = lazyTree(attempts.map(withoutSecret), color);
  return warnings === null ? { attempts, emit } : { attempts, emit, warnings };
}

/** Calls `add` with each attempt, in order. Returns the warnings, or `null` if there are none. */
function readInto(request, add) {
  const addon = bindingOrNull();
  if (addon === null) {
    require('./env_fallback.js').readEnvironment(request, binding).forEach(add);
    return null;
  }
  closeWhenIdle(addon);
  const { key, keys, env = '', org = '', dangerous, buffer, context } = request;
  // Most reads are of one key: no array, and no join.
  const named = keys === undefined ? (key === undefined ? '' : `\0${key}`) : keys.map((each) => `\0${each}`).join('');
  const flags = (dangerous ? ALLOW_DANGEROUS : 0) | (buffer ? AS_BUFFERS : 0) | (keys === undefined ? 0 : SEVERAL);
  return withOwnership(context, (text) => {
    const onGranted = (secret, slug, protection, duration, vault, mech, keyEnv, keyOrg, expiresAt, belowDeclared, note) =>
      add(grantedAttempt(secret, slug, protection, duration, vault, mech, keyEnv, keyOrg, expiresAt, belowDeclared, note));
    const onMissed = (status, slug, message, fix, note, waived) => add(missedAttempt(status, slug, message, fix, note, waived));
    const reply = addon.get(text, context.deadlineMs, `${env}\0${org}${named}`, flags, lookUp, onGranted, onMissed);
    return reply === null ? null : decodeReply(reply).warnings;
  });
}

function getSync(given) {
  return readKeys(buildRequest('getSync', validateOptions('getSync', given, READ)));
}

async function get(given) {
  const input = validateOptions('get', given, [...READ, ...UNLOCK]);
  const request = buildRequest('get', input);
  const unlock = input.with !== undefined && input.with !== null && validateBoolean('get: with.unlock', validateOptions('get: with', input.with, ['unlock']).unlock);
  const how = {
    prompt: validateOneOf('get: prompt', input.prompt, ['never', 'tty']),
    signal: validateSignal('get: signal', input.signal),
    timeoutMs: unlock ? validateTimeout('get: timeoutMs', input.timeoutMs, undefined) : undefined,
  };
  const prikeys = validateStrings('get: prikey', input.prikey);
  // Then timeoutMs is the child's, and the daemon gets its default.
  if (unlock) request.context.deadlineMs = Math.min(request.context.deadlineMs, DEADLINE_MS);
  if (how.signal?.aborted) throw new KeyrackError({ code: 'aborted', message: 'the call was aborted by its signal', cause: how.signal.reason });

  const first = readKeys(request);
  if (!unlock) return first;
  if (!(request.key === undefined ? first.attempts : [first.attempt]).some((attempt) => attempt.status === 'locked')) return first;
  await unlockLocked(request, prikeys, how);
  return readKeys(request);
}

module.exports = { DEADLINE_MS, readKeys, get, getSync, lookUp };
