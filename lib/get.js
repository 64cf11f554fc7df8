'use strict';
// get and getSync: read keys from the daemon, then from this realm's process.env, in one call of the
// addon.

const { append, grantedAttempt, lazyTree, missedAttempt, withoutSecret } = require('./attempts.js');
const { binding, bindingOrNull } = require('./binding.js');
const { callContext, variable, withOwnership } = require('./call_context.js');
const { decodeReply } = require('./decode.js');
const { KeyrackError } = require('./error.js');
const { closeWhenIdle } = require('./idle.js');
const { allowsDangerous, unlockLocked } = require('./mutations.js');
const { ownProperties } = require('./own_properties.js');
const { argumentError, validateBoolean, validateOneOf, validateOptions, validateSignal, validateString, validateStrings, validateTimeout } = require('./validate.js');

/** How long the daemon may take to answer, in milliseconds. */
const DEADLINE_MS = 2000;

const READ = ['for', 'env', 'org', 'owner', 'allow', 'as', 'color', 'timeoutMs'];
const UNLOCK = ['with', 'prikey', 'prompt', 'signal'];

/** Returns the values of variables of this realm, `null` for those not set. Gets their names as one text, with a NUL between them. */
const lookUp = (names) => names.split('\0').map((name) => variable(name) ?? null);

/** Validates the options of a get. */
function buildRequest(call, input) {
  const target = validateOptions(`${call}: for`, input.for, ['repo', 'key']);
  const key = validateString(`${call}: for.key`, target.key);
  const repo = validateBoolean(`${call}: for.repo`, target.repo);
  if (repo === (key !== undefined)) throw argumentError(`${call}: for must be { key } or { repo: true }`);
  const owner = validateString(`${call}: owner`, input.owner);
  const env = validateString(`${call}: env`, input.env);
  const org = validateString(`${call}: org`, input.org);
  return ownProperties({
    context: callContext(owner, validateTimeout(`${call}: timeoutMs`, input.timeoutMs, DEADLINE_MS)),
    key,
    env,
    org,
    dangerous: allowsDangerous(call, input.allow),
    buffer: validateOneOf(`${call}: as`, input.as, ['string', 'buffer']) === 'buffer',
    color: validateBoolean(`${call}: color`, input.color),
  });
}

/** Flags of a read (`crates/keyrack-node/src/get.rs`). */
const ALLOW_DANGEROUS = 1;
const AS_BUFFERS = 2;
const SEVERAL = 4;

/** Reads the keys of a request, with `keys` several ones. */
function readKeys(request) {
  const attempts = [];
  const entries = [];
  const add = (attempt) => {
    append(entries, withoutSecret(attempt));
    append(attempts, attempt);
  };
  const warnings = readInto(request, add);
  const emit = lazyTree(entries, request.color);
  if (request.key === undefined) return warnings.length > 0 ? { attempts, emit, warnings } : { attempts, emit };
  const [attempt] = attempts;
  return warnings.length > 0 ? { attempt, emit, warnings } : { attempt, emit };
}

/** Calls `add` with each attempt, in order. Returns the warnings. */
function readInto(request, add) {
  const addon = bindingOrNull();
  if (addon === null) {
    require('./env_fallback.js').readEnvironment(request, binding).forEach(add);
    return [];
  }
  closeWhenIdle(addon);
  const { key, keys, env = '', org = '', dangerous, buffer, context } = request;
  const named = keys ?? (key === undefined ? [] : [key]);
  const flags = (dangerous ? ALLOW_DANGEROUS : 0) | (buffer ? AS_BUFFERS : 0) | (keys === undefined ? 0 : SEVERAL);
  return withOwnership(context, (text) => {
    const onGranted = (...members) => add(grantedAttempt(...members));
    const onMissed = (...members) => add(missedAttempt(...members));
    const reply = addon.get(text, context.deadlineMs, [env, org, ...named].join('\0'), flags, lookUp, onGranted, onMissed);
    return reply === null ? [] : decodeReply(reply).warnings;
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
