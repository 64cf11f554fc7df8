'use strict';
// get and getSync: the daemon first, then this realm's process.env, in one call of the addon.

const argument = require('./argument.js');
const { answer } = require('./answer.js');
const { bindingOrNull, binding } = require('./binding.js');
const { allowsDangerous, unlockLocked } = require('./change.js');
const { KeyrackError } = require('./error.js');
const { define, own } = require('./own.js');
const { realm, variable, withOwnership } = require('./realm.js');
const { ErasableSecret } = require('./secret.js');

/** How long the daemon may take to answer, in milliseconds. */
const DEADLINE_MS = 2000;

const READ = ['for', 'env', 'org', 'owner', 'allow', 'as', 'color', 'timeoutMs'];
const UNLOCK = ['with', 'prikey', 'prompt', 'signal'];

/** The values of variables in this realm, `null` for those not set. Their names come as one text, with a NUL between them. */
const lookUp = (names) => names.split('\0').map((name) => variable(name) ?? null);

/** Checks what was asked, and says it as the addon takes it. */
function question(call, input) {
  const wanted = argument.options(`${call}: for`, input.for, ['repo', 'key']);
  const key = argument.text(`${call}: for.key`, wanted.key);
  const repo = argument.flag(`${call}: for.repo`, wanted.repo);
  if (repo === (key !== undefined)) throw argument.mistake(`${call}: for must be { key } or { repo: true }`);
  const owner = argument.text(`${call}: owner`, input.owner);
  const env = argument.text(`${call}: env`, input.env);
  const org = argument.text(`${call}: org`, input.org);
  return own({
    realm: realm(owner, argument.milliseconds(`${call}: timeoutMs`, input.timeoutMs, DEADLINE_MS)),
    key,
    inEnv: env,
    org,
    dangerous: allowsDangerous(call, input.allow),
    buffer: argument.word(`${call}: as`, input.as, ['string', 'buffer']) === 'buffer',
    color: argument.flag(`${call}: color`, input.color),
  });
}

/** Asks, and puts each secret into its attempt. */
function ask(asked) {
  const addon = bindingOrNull();
  if (addon === null) return finish(asked, { ...require('./environment.js').fromEnvironment(asked, binding), warnings: [] });
  return withOwnership(asked, () => {
    const { json, stdout, secrets } = addon.get(asked, lookUp);
    const { attempts, warnings } = answer(json);
    let next = 0;
    for (const attempt of attempts) {
      if (attempt.status === 'granted') define(attempt.grant.key, 'secret', secrets[next++]);
    }
    return finish(asked, { attempts, stdout, warnings });
  });
}

/** The same bytes as a Uint8Array of this realm, whatever realm the buffer is of. */
const ownView = ({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength);

/** What is handed out: `attempt` of one key, `attempts` of several. */
function finish({ key, buffer }, { attempts, stdout, warnings }) {
  if (buffer) {
    for (const { status, grant } of attempts) {
      if (status === 'granted') define(grant.key, 'secret', new ErasableSecret(ownView(grant.key.secret)));
    }
  }
  const found = key === undefined ? { attempts } : { attempt: attempts[0] };
  return { ...found, emit: { stdout }, ...(warnings.length > 0 ? { warnings } : {}) };
}

function getSync(given) {
  return ask(question('getSync', argument.options('getSync', given, READ)));
}

async function get(given) {
  const input = argument.options('get', given, [...READ, ...UNLOCK]);
  const asked = question('get', input);
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
  if (!(asked.key === undefined ? first.attempts : [first.attempt]).some((attempt) => attempt.status === 'locked')) return first;
  await unlockLocked(asked, prikeys, how);
  return ask(asked);
}

module.exports = { DEADLINE_MS, ask, get, getSync, lookUp };
