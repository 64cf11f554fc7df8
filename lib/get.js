'use strict';
// get and getSync: the daemon first, then this realm's process.env, in one call of the addon.

const argument = require('./argument.js');
const { answer } = require('./answer.js');
const { bindingOrNull, binding } = require('./binding.js');
const { allowsDangerous, unlockLocked } = require('./change.js');
const { KeyrackError } = require('./error.js');
const { realm, variable } = require('./realm.js');
const { ErasableSecret } = require('./secret.js');

/** How long the daemon may take to answer, in milliseconds. */
const DEADLINE_MS = 2000;

const READ = ['for', 'env', 'org', 'owner', 'allow', 'as', 'color', 'timeoutMs'];
const UNLOCK = ['with', 'prikey', 'prompt', 'signal'];

/** The values of variables in this realm, `null` for those not set. */
const lookUp = (names) => names.map((name) => variable(name) ?? null);

/** Checks what was asked, and says it as the addon takes it. */
function question(call, input, names) {
  argument.options(call, input, names);
  argument.options(`${call}: for`, input.for, ['repo', 'key']);
  const key = argument.text(`${call}: for.key`, input.for.key);
  const repo = argument.flag(`${call}: for.repo`, input.for.repo);
  if (repo === (key !== undefined)) throw argument.mistake(`${call}: for must be { key } or { repo: true }`);
  const owner = argument.text(`${call}: owner`, input.owner);
  const env = argument.text(`${call}: env`, input.env);
  const org = argument.text(`${call}: org`, input.org);
  return {
    realm: realm(owner, argument.milliseconds(`${call}: timeoutMs`, input.timeoutMs, DEADLINE_MS)),
    key,
    inEnv: env,
    org,
    dangerous: allowsDangerous(call, input.allow),
    buffer: argument.word(`${call}: as`, input.as, ['string', 'buffer']) === 'buffer',
    color: argument.flag(`${call}: color`, input.color),
  };
}

/** Asks, and puts each secret into its attempt. */
function ask(asked) {
  const addon = bindingOrNull();
  if (addon === null) return finish(asked, require('./environment.js').fromEnvironment(asked, binding));
  const { json, stdout, secrets } = addon.get(asked, lookUp);
  const { attempts, warnings } = answer(json);
  let next = 0;
  for (const attempt of attempts) {
    if (attempt.status === 'granted') attempt.grant.key.secret = secrets[next++];
  }
  return finish(asked, { attempts, stdout, warnings });
}

/** The same bytes as a Uint8Array of this realm, whatever realm the buffer is of. */
const ownView = ({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength);

/** What is handed out: `attempt` of one key, `attempts` of several. */
function finish({ key, buffer }, { attempts, stdout, warnings = [] }) {
  if (buffer) {
    for (const { grant } of attempts) {
      if (grant) grant.key.secret = new ErasableSecret(ownView(grant.key.secret));
    }
  }
  const result = key === undefined ? { attempts, emit: { stdout } } : { attempt: attempts[0], emit: { stdout } };
  if (warnings.length > 0) result.warnings = warnings;
  return result;
}

function getSync(input) {
  return ask(question('getSync', input, READ));
}

async function get(input) {
  const asked = question('get', input, [...READ, ...UNLOCK]);
  const unlock = input.with !== undefined && input.with !== null && argument.flag('get: with.unlock', argument.options('get: with', input.with, ['unlock']).unlock);
  const how = {
    prompt: argument.word('get: prompt', input.prompt, ['never', 'tty']),
    signal: argument.signal('get: signal', input.signal),
    timeoutMs: unlock ? argument.milliseconds('get: timeoutMs', input.timeoutMs, undefined) : undefined,
  };
  const prikeys = argument.texts('get: prikey', input.prikey);
  // Then timeoutMs is the child's; the daemon gets no longer than ever.
  if (unlock) asked.realm.deadlineMs = Math.min(asked.realm.deadlineMs, DEADLINE_MS);
  if (how.signal?.aborted) throw new KeyrackError({ code: 'aborted', message: 'the call was withdrawn by its signal', cause: how.signal.reason });

  const first = ask(asked);
  if (!unlock) return first;
  if (!(first.attempts ?? [first.attempt]).some((attempt) => attempt.status === 'locked')) return first;
  await unlockLocked(asked, prikeys, how);
  return ask(asked);
}

module.exports = { DEADLINE_MS, ask, get, getSync, lookUp };
