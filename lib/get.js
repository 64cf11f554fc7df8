'use strict';
// get and getSync: the daemon first, then this realm's process.env, in one call of the addon.

const { argumentError, validateBoolean, validateOneOf, validateOptions, validateSignal, validateString, validateStrings, validateTimeout } = require('./validate.js');
const { decodeReply } = require('./decode.js');
const { bindingOrNull, binding } = require('./binding.js');
const { allowsDangerous, unlockLocked } = require('./mutations.js');
const { KeyrackError } = require('./error.js');
const { defineProperty, ownProperties } = require('./own_properties.js');
const { callContext, variable, withOwnership } = require('./call_context.js');
const { ErasableSecret } = require('./secret.js');

/** How long the daemon may take to answer, in milliseconds. */
const DEADLINE_MS = 2000;

const READ = ['for', 'env', 'org', 'owner', 'allow', 'as', 'color', 'timeoutMs'];
const UNLOCK = ['with', 'prikey', 'prompt', 'signal'];

/** The values of variables in this realm, `null` for those not set. Their names come as one text, with a NUL between them. */
const lookUp = (names) => names.split('\0').map((name) => variable(name) ?? null);

/** Checks what was asked, and says it as the addon takes it. */
function buildRequest(call, input) {
  const wanted = validateOptions(`${call}: for`, input.for, ['repo', 'key']);
  const key = validateString(`${call}: for.key`, wanted.key);
  const repo = validateBoolean(`${call}: for.repo`, wanted.repo);
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

/** Asks, and puts each secret into its attempt. */
function readKeys(request) {
  const addon = bindingOrNull();
  if (addon === null) return toOutput(request, { ...require('./env_fallback.js').fromEnvironment(request, binding), warnings: [] });
  return withOwnership(request, () => {
    const { json, stdout, secrets } = addon.get(request, lookUp);
    const { attempts, warnings } = decodeReply(json);
    let next = 0;
    for (const attempt of attempts) {
      if (attempt.status === 'granted') defineProperty(attempt.grant.key, 'secret', secrets[next++]);
    }
    return toOutput(request, { attempts, stdout, warnings });
  });
}

/** The same bytes as a Uint8Array of this realm, whatever realm the buffer is of. */
const ownView = ({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength);

/** What is handed out: `attempt` of one key, `attempts` of several. */
function toOutput({ key, buffer }, { attempts, stdout, warnings }) {
  if (buffer) {
    for (const { status, grant } of attempts) {
      if (status === 'granted') defineProperty(grant.key, 'secret', new ErasableSecret(ownView(grant.key.secret)));
    }
  }
  const found = key === undefined ? { attempts } : { attempt: attempts[0] };
  return { ...found, emit: { stdout }, ...(warnings.length > 0 ? { warnings } : {}) };
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
  // Then timeoutMs is the child's; the daemon gets no longer than ever.
  if (unlock) request.context.deadlineMs = Math.min(request.context.deadlineMs, DEADLINE_MS);
  if (how.signal?.aborted) throw new KeyrackError({ code: 'aborted', message: 'the call was withdrawn by its signal', cause: how.signal.reason });

  const first = readKeys(request);
  if (!unlock) return first;
  if (!(request.key === undefined ? first.attempts : [first.attempt]).some((attempt) => attempt.status === 'locked')) return first;
  await unlockLocked(request, prikeys, how);
  return readKeys(request);
}

module.exports = { DEADLINE_MS, readKeys, get, getSync, lookUp };
