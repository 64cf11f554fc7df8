'use strict';
// get and source without the native part: they return only values of process.env. Everything else
// fails with the error that names the missing part.

const { declared } = require('./manifest_fallback.js');
const { ErasableSecret } = require('./secret.js');
const { reasons } = require('./token_check.js');
const { strictFailure } = require('./format.js');
const { invokedAs, variable } = require('./call_context.js');

const FULL = /^([^.]+)\.(sudo|prod|prep|test|all|camp)\.(.+)$/;

/** Returns the parts of a requested key's slug. */
function parts({ key, org, env }) {
  const [, ofOrg, ofEnv, name] = FULL.exec(key) ?? [null, org ?? '@this', env ?? 'all', key];
  return { org: ofOrg, env: ofEnv, name, slug: `${ofOrg}.${ofEnv}.${name}` };
}

/** Returns the keys that were requested. */
function wanted(request, missing) {
  if (request.keys !== undefined) return request.keys.map((key) => parts({ key }));
  return request.key === undefined ? declared(request, missing) : [parts(request)];
}

/** Quotes a word for a POSIX shell, since a fix gets pasted. */
const quoted = (word) => (/^[A-Za-z0-9_.\/@:=+,%-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

/**
 * Returns the fix of a blocked key as the addon does: the command that stores it elsewhere, or the
 * one that returns it anyway.
 */
function fix({ org, env, name }, { context: { owner } }, allDangers) {
  const words = [allDangers ? 'get' : 'set'];
  if (owner !== undefined && owner !== 'default') words.push('--owner', owner);
  // A key of the machine belongs to no repository.
  if (org === '@all') words.push('--org', org);
  words.push('--env', env, '--key', name, ...(allDangers ? ['--allow-dangerous'] : ['--vault', 'os.secure', '--mech', 'PERMANENT_VIA_REPLICA']));
  return [invokedAs(), ...words.map(quoted)].join(' ');
}

/** Makes the attempt at one key, `null` if the environment does not have it. */
function attempt({ org, env, name, slug }, request) {
  const value = env === 'sudo' ? undefined : variable(name);
  if (value === undefined || value === '') return null;
  const against = reasons(name, value, request.dangerous);
  if (against.length > 0) {
    const allDangers = reasons(name, value, true).length === 0;
    const note = allDangers ? { note: '--allow-dangerous returns it anyway' } : {};
    return { status: 'blocked', slug, reasons: against, fix: fix({ org, env, name }, request, allDangers), ...note };
  }
  return {
    status: 'granted',
    grant: {
      slug,
      key: { secret: request.buffer ? new ErasableSecret(new Uint8Array(Buffer.from(value, 'utf8'))) : value, grade: { protection: 'plaintext', duration: 'permanent' } },
      source: { vault: 'os.envvar', mech: 'PERMANENT_VIA_REPLICA' },
      env,
      org,
    },
  };
}

/**
 * Reads the attempts that the addon would deliver. `missing` throws: it is called if the
 * environment lacks a key.
 */
function readEnvironment(request, missing) {
  return wanted(request, missing).map((key) => attempt(key, request) ?? missing());
}

/**
 * Does the same for `source`: keeps what the environment has. A key that is waived or not required
 * may be missing.
 */
function sourceFromEnvironment(request, missing) {
  const keys = wanted(request, missing);
  const done = { variables: [], sourced: [], kept: [], differing: [], missing: [] };
  const failed = [];
  for (const key of keys) {
    const found = attempt(key, request);
    if (found?.status === 'granted') {
      // For env `all` a name may stand in several envs: it is one variable.
      if (!done.kept.includes(key.name)) done.kept.push(key.name);
    }
    else if (!found && request.strict && !(key.optionalIfHas && variable(key.optionalIfHas))) missing();
    else {
      if (found && request.strict) failed.push(found);
      if (!done.missing.includes(key.name)) done.missing.push(key.name);
    }
  }
  done.missing = done.missing.filter((name) => !done.kept.includes(name));
  if (failed.length === 0) return done;
  return { failed, report: strictFailure(failed) };
}

module.exports = { readEnvironment, sourceFromEnvironment };
