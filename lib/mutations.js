'use strict';
// unlock, set and del: calls that change something or open a vault. The command does the work in a
// child process, so that identities, vault plaintext and typed text never enter this heap.

const { argumentError, requireString, validateBoolean, validateOneOf, validateOptions, validateSignal, validateString, validateStrings, validateTimeout } = require('./validate.js');
const { KeyrackError } = require('./error.js');

const COMMON = ['owner', 'env', 'prikey', 'prompt', 'signal', 'timeoutMs'];

/** Returns the flag of an option that was passed. With `=`, a value may begin with a dash. */
const flag = (name, value) => (value === undefined ? [] : [`--${name}=${value}`]);

function common(call, input) {
  return {
    flags: [
      ...flag('owner', validateString(`${call}: owner`, input.owner)),
      ...flag('env', validateString(`${call}: env`, input.env)),
      ...validateStrings(`${call}: prikey`, input.prikey).flatMap((path) => flag('prikey', path)),
    ],
    how: {
      prompt: validateOneOf(`${call}: prompt`, input.prompt, ['never', 'tty']),
      signal: validateSignal(`${call}: signal`, input.signal),
      timeoutMs: validateTimeout(`${call}: timeoutMs`, input.timeoutMs, undefined),
    },
  };
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Splits stderr into the error of the command, which is its last line, and the rest. */
function parseStderr(stderr) {
  const lines = stderr.split('\n');
  const last = parsed(lines.at(-1));
  const problem = typeof last === 'object' && last !== null && Object.hasOwn(last, 'error') ? last.error : undefined;
  const told = typeof problem?.code === 'string';
  return { problem: told ? problem : undefined, detail: (told ? lines.slice(0, -1) : lines).join('\n').trim() || undefined };
}

/** Runs a command. Throws its error as a KeyrackError. */
async function run(args, how) {
  // Loaded on demand: most callers only read, and node:child_process takes time to load.
  const { keyrack } = require('./spawn.js');
  const { status, stdout, stderr } = await keyrack([...args, '--json', ...(how.prompt === 'never' ? ['--no-prompt'] : [])], how);
  const { problem, detail } = parseStderr(stderr);
  if (problem) throw new KeyrackError({ ...problem, message: String(problem.message ?? problem.code), exit: problem.exit ?? status ?? 1, detail });
  return { status, stdout, detail };
}

/** Runs a command that prints its result as a JSON object, and returns that. */
async function runForJson(args, how) {
  const { status, stdout, detail } = await run(args, how);
  const answer = parsed(stdout);
  if (typeof answer === 'object' && answer !== null) return answer;
  const end = status === null ? 'was ended by a signal' : `ended with exit code ${status}`;
  throw new KeyrackError({ code: 'command_failed', message: `keyrack ${args[0]} ${end} and printed no JSON that can be read`, exit: status || 1, detail });
}

async function unlock(given = {}) {
  const input = validateOptions('unlock', given, [...COMMON, 'key', 'org', 'duration']);
  const { flags, how } = common('unlock', input);
  for (const option of ['key', 'org', 'duration']) flags.push(...flag(option, validateString(`unlock: ${option}`, input[option])));
  const { unlocked, omitted } = await runForJson(['unlock', ...flags], how);
  return { unlocked, omitted };
}

/**
 * Returns the flags that name the key: by its name in this repository, or by its full slug, in a
 * repository or outside of one.
 */
function keyFlags(call, { key, slug }) {
  if (slug === undefined || slug === null) return flag('key', requireString(`${call}: key`, key));
  if (key !== undefined && key !== null) throw argumentError(`${call}: pass key or slug, not both`);
  return [...flag('key', requireString(`${call}: slug`, slug)), '--anywhere'];
}

async function set(given) {
  const input = validateOptions('set', given, [...COMMON, 'key', 'slug', 'secret', 'vault', 'mech', 'org', 'exid', 'maxDuration', 'at', 'allow']);
  const { flags, how } = common('set', input);
  flags.push(...keyFlags('set', input), ...flag('vault', requireString('set: vault', input.vault)));
  // Callers of rhachet pass no secret to have the user at the terminal prompted, if there is one.
  if (input.slug && input.secret === undefined && input.prompt === undefined && process.stdin.isTTY === true) how.prompt = 'tty';
  for (const [name, option] of [['mech', 'mech'], ['org', 'org'], ['exid', 'exid'], ['max-duration', 'maxDuration'], ['at', 'at']]) {
    flags.push(...flag(name, validateString(`set: ${option}`, input[option])));
  }
  if (allowsDangerous('set', input.allow)) flags.push('--allow-dangerous');
  const secret = secretBytes(input.secret);
  // The secret is stored byte for byte, including a newline at its end.
  if (secret !== undefined) flags.push('--stdin-exact');
  try {
    return await runForJson(['set', ...flags], { ...how, secret });
  } catch (error) {
    // Nothing was piped in, because no secret was passed.
    if (error.code !== 'empty_secret' || secret !== undefined || how.prompt === 'tty') throw error;
    throw new KeyrackError({ ...error, code: 'prompt_needed', message: 'a secret is required, and prompts are disabled', hint: "pass secret, or prompt: 'tty'", cause: error });
  }
}

async function del(given) {
  const input = validateOptions('del', given, [...COMMON, 'key', 'slug', 'org']);
  const { flags, how } = common('del', input);
  flags.push(...keyFlags('del', input), ...flag('org', validateString('del: org', input.org)));
  return runForJson(['del', ...flags], how);
}

/**
 * Unlocks the keys of a get that are locked, and no others. The secrets that the command prints are
 * discarded; they are read from the daemon afterwards.
 */
async function unlockLocked({ key, env, org, context: { owner }, dangerous }, prikeys, how) {
  const scope = key === undefined ? flag('for', 'repo') : [...flag('key', key), ...flag('org', org)];
  const rest = [...flag('env', env), ...flag('owner', owner), ...prikeys.flatMap((path) => flag('prikey', path)), ...(dangerous ? ['--allow-dangerous'] : [])];
  await run(['get', '--unlock', ...scope, ...rest], { ...how, discard: true });
}

/** Copies the secret for the pipe. The copy is wiped once it is written. */
function secretBytes(secret) {
  if (secret === undefined) return undefined;
  if (typeof secret === 'string') return Buffer.from(secret, 'utf8');
  // By tag, not instanceof: a test runner's Uint8Array is of another realm.
  if (Object.prototype.toString.call(secret) === '[object Uint8Array]') return Buffer.from(secret);
  if (secret !== null && typeof secret === 'object' && Object.prototype.toString.call(secret.bytes) === '[object Uint8Array]') return Buffer.from(secret.bytes);
  throw argumentError('set: secret must be a string, a Uint8Array or an ErasableSecret');
}

function allowsDangerous(call, allow) {
  if (allow === undefined || allow === null) return false;
  return validateBoolean(`${call}: allow.dangerous`, validateOptions(`${call}: allow`, allow, ['dangerous']).dangerous);
}

module.exports = { allowsDangerous, del, set, unlock, unlockLocked };
