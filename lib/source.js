'use strict';
// source: sets variables of process.env to keys.

const fs = require('node:fs');
const { requireString, validateBoolean, validateOneOf, validateOptions, validateString, validateTimeout } = require('./validate.js');
const { decodeReply } = require('./decode.js');
const { append, missedAttempt } = require('./attempts.js');
const { binding, bindingOrNull } = require('./binding.js');
const { allowsDangerous } = require('./mutations.js');
const { KeyrackError } = require('./error.js');
const { closeWhenIdle } = require('./idle.js');
const { DEADLINE_MS, lookUp } = require('./get.js');
const { defineProperty, ownProperties } = require('./own_properties.js');
const { callContext, withOwnership } = require('./call_context.js');

/**
 * Values that `source` set in this realm, by variable. A variable that still has its value may be
 * refreshed.
 */
const ours = new Map();

const isOurs = (name) => ours.has(name) && process.env[name] === ours.get(name);

function say(text) {
  try {
    fs.writeSync(2, text.endsWith('\n') ? text : `${text}\n`);
  } catch {
    // Stderr is closed.
  }
}

/**
 * Returns the bytes that the kernel counts of arguments and variables (execve(2)): their own, a NUL
 * and a pointer for each.
 */
function occupied() {
  let bytes = 0;
  for (const text of [...process.execArgv, ...process.argv]) bytes += Buffer.byteLength(text) + 9;
  for (const name of Object.keys(process.env)) bytes += Buffer.byteLength(name) + Buffer.byteLength(process.env[name] ?? '') + 10;
  return Math.min(bytes, 0xffffffff);
}

/**
 * Reads the keys of a request: `variables` to set with their values, and the result of the rest;
 * or, in strict mode, the attempts that failed.
 */
function readVariables(request) {
  const addon = bindingOrNull();
  if (addon === null) return ownProperties(require('./env_fallback.js').sourceFromEnvironment(request, binding));
  closeWhenIdle(addon);
  const { context } = request;
  return withOwnership(context, (text) => {
    const variables = [];
    const attempts = [];
    const onVariable = (name, value) => append(variables, { name, value });
    const onMissed = (...members) => append(attempts, missedAttempt(...members));
    const reply = decodeReply(addon.source(text, context.deadlineMs, request, lookUp, onVariable, onMissed));
    return ownProperties({ ...reply, variables, failed: reply.failed ? attempts : undefined });
  });
}

/**
 * Returns `true` if a strict failure ends the process: on the main thread, except under vitest,
 * where it would end a worker of its pool.
 */
function exits(onFail) {
  if (onFail !== undefined) return onFail === 'exit';
  const { isMainThread } = require('node:worker_threads');
  return isMainThread && globalThis.__vitest_worker__ === undefined && process.env.VITEST_WORKER_ID === undefined;
}

function source(given) {
  const input = validateOptions('source', given, ['env', 'owner', 'key', 'mode', 'override', 'onFail', 'allow', 'timeoutMs']);
  const strict = validateOneOf('source: mode', input.mode, ['strict', 'lenient']) === 'strict';
  const onFail = input.onFail === undefined ? undefined : validateOneOf('source: onFail', input.onFail, ['exit', 'throw']);
  const request = ownProperties({
    context: callContext(validateString('source: owner', input.owner), validateTimeout('source: timeoutMs', input.timeoutMs, DEADLINE_MS)),
    env: requireString('source: env', input.env),
    key: validateString('source: key', input.key),
    dangerous: allowsDangerous('source', input.allow),
    strict,
    override: validateBoolean('source: override', input.override),
    ours: [...ours.keys()].filter(isOurs).map((name) => `${name}\0`).join(''),
    occupied: occupied(),
  });

  let found;
  try {
    found = readVariables(request);
  } catch (error) {
    const nothing = error instanceof KeyrackError && error.code === 'no_manifest' && !strict && request.key === undefined;
    if (!nothing) throw error;
    return { sourced: [], kept: [], missing: [] };
  }
  for (const { message, fix } of found.warnings ?? []) say(`keyrack: ${message}${fix ? ` (${fix})` : ''}`);
  for (const notice of found.notices ?? []) say(`keyrack: ${notice}`);
  if (found.failed !== undefined) fail(found, exits(onFail));
  return apply(found);
}

function fail({ failed, report, unlockAll }, exit) {
  if (exit) {
    say(report);
    process.exit(2);
  }
  const [first] = failed;
  const what = failed.length === 1 ? (first.message ?? `${first.slug} is blocked: ${first.reasons.join('; ')}`) : `${failed.length} keys are not granted: ${failed.map((each) => each.slug).join(', ')}`;
  // The fix of the first key would leave the others locked.
  const fix = (first.status === 'locked' && unlockAll) || first.fix;
  throw new KeyrackError({
    code: first.status,
    exit: 2,
    message: `${what}${formatFix(fix)}`,
    slug: first.slug,
    fix: fix ?? undefined,
    attempts: failed,
    detail: report.trim(),
  });
}

/** Formats the fix for a test runner that shows only the message. */
function formatFix(fix) {
  if (!fix) return '';
  return /^((npx|pnpm|yarn|rhx) )?keyrack /.test(fix) ? `; run: ${fix}` : `; ${fix}`;
}

/**
 * Sets a variable, past a setter of its name on the prototype, which a test runner's `process.env`
 * would pass it to.
 */
function setVariable(name, value) {
  if (name in Object.prototype) defineProperty(process.env, name, value);
  else process.env[name] = value;
}

function apply({ variables, sourced, kept, differing, missing }) {
  for (const { name, value } of variables) {
    setVariable(name, value);
    ours.set(name, value);
  }
  // A variable that source set is removed when its key is gone.
  for (const name of missing.filter(isOurs)) {
    delete process.env[name];
    ours.delete(name);
  }
  for (const name of differing) {
    say(`keyrack: ${name} is already set and kept, although the unlocked key has another value; override: true replaces it`);
  }
  return { sourced, kept, missing };
}

module.exports = { source };
