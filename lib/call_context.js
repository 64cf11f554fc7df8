'use strict';
// Context of a call besides its arguments: the directory and the environment of this realm. A
// worker thread's `process.env`, and the one that a test runner puts in its place, count; never the
// environment that the process was started with.

// Every variable that keyrack's client reads. They are read one by one: listing an environment
// costs more than a whole get.
const NAMES = ['HOME', 'XDG_RUNTIME_DIR', 'KEYRACK_INVOKED_AS', 'KEYRACK_MEMORY', 'KEYRACK_REQUIRE_SESSION', 'KEYRACK_STRICT_ENV', 'SUDO_UID'];

// Those of them that a read needs before it asks the daemon. It looks up the others if a key is
// missing. Benchmark row: "getSync in Node by slug, against the native Rust client".
const EARLY_NAMES = ['HOME', 'XDG_RUNTIME_DIR', 'KEYRACK_MEMORY', 'KEYRACK_REQUIRE_SESSION', 'SUDO_UID'];

// Variables that decide which repositories of other users are accepted, besides git's files in
// HOME. Read only after one was refused.
const OWNERSHIP = ['KEYRACK_SAFE_DIRECTORY', 'XDG_CONFIG_HOME', 'GIT_CONFIG_GLOBAL', 'GIT_CONFIG_SYSTEM', 'GIT_CONFIG_NOSYSTEM'];

const INVOCATIONS = ['keyrack', 'npx keyrack', 'pnpm keyrack', 'yarn keyrack', 'rhx keyrack'];

/**
 * Returns how keyrack was called: what a wrapper claims if it is one of the known ways, else by the
 * npm package.
 */
function invokedAs() {
  const claim = process.env.KEYRACK_INVOKED_AS;
  if (INVOCATIONS.includes(claim)) return claim;
  // Without node_modules, npx would look for keyrack in the registry.
  return process.versions.pnp ? 'yarn keyrack' : 'npx keyrack';
}

/** Returns the working directory, or `/`, where no repository is, if it has been removed. */
function directory() {
  try {
    return process.cwd();
  } catch {
    return '/';
  }
}

/**
 * Returns the value of a variable, or `undefined` if it is not set. What `process.env` inherits
 * (`constructor`, `__proto__`) is not a variable.
 */
function variable(name) {
  const { env } = process;
  return variableOf(env, Object.getPrototypeOf(env), name);
}

/** Returns the value of a variable of an environment with this prototype. */
function variableOf(env, prototype, name) {
  const value = env[name];
  if (value === undefined || value === null) return undefined;
  // Asks the prototype first, since a question to the real environment takes a tenth of a read.
  // Benchmark row: "getSync in Node by slug, against the native Rust client".
  if (prototype !== null && name in prototype && !Object.hasOwn(env, name)) return undefined;
  // A test runner's `process.env` is an object like any other, which takes more than text.
  return String(value);
}

/** Returns `true` for a variable that has another default in this process than in the addon. */
const hasOtherDefault = (name) => name === 'KEYRACK_INVOKED_AS' && process.versions.pnp !== undefined;

/** Returns a variable of the context: its value, and for `KEYRACK_INVOKED_AS` a default. */
const contextVariable = (name) => (hasOtherDefault(name) ? invokedAs() : variable(name));

/**
 * Encodes variables as the addon reads them: one string crosses faster than a dozen, and no
 * variable can hold a NUL.
 */
function encodeVariables(names) {
  const { env } = process;
  const prototype = Object.getPrototypeOf(env);
  let text = '';
  for (const name of names) {
    const value = hasOtherDefault(name) ? invokedAs() : variableOf(env, prototype, name);
    if (value !== undefined) text += `${name}=${value}\0`;
  }
  return text;
}

/**
 * Returns the context of a call.
 *
 * @param {string | undefined} owner the rack's owner
 * @param {number} deadlineMs how long the daemon may take to answer
 */
function callContext(owner, deadlineMs, cwd = directory(), names = NAMES) {
  return { cwd, owner, deadlineMs, text: `${cwd}\0${owner ?? ''}\0${encodeVariables(names)}` };
}

/**
 * Calls the addon. If it refuses another user's repository, calls it again with the variables that
 * may accept one.
 *
 * @template T
 * @param {{ text: string }} context
 * @param {(text: string) => T} call gets the context as the addon takes it
 * @returns {T}
 */
function withOwnership(context, call) {
  try {
    return call(context.text);
  } catch (error) {
    if (error?.code !== 'repository_untrusted') throw error;
    const more = encodeVariables(OWNERSHIP);
    if (more === '') throw error;
    return call(context.text + more);
  }
}

module.exports = { EARLY_NAMES, INVOCATIONS, NAMES, OWNERSHIP, callContext, contextVariable, directory, invokedAs, variable, withOwnership };
