'use strict';
// What a call depends on besides its arguments: the directory and the environment of this realm. A worker thread's `process.env`, and
// the one a test runner puts in its place, are what count, never the environment the process was started with.

const { ownProperties } = require('./own_properties.js');

// Every variable keyrack's client reads. They are read one by one: listing an environment costs more than a whole get.
const NAMES = ['HOME', 'XDG_RUNTIME_DIR', 'KEYRACK_INVOKED_AS', 'KEYRACK_MEMORY', 'KEYRACK_REQUIRE_SESSION', 'KEYRACK_STRICT_ENV', 'SUDO_UID'];

// Variables that decide which repositories of other users are accepted, besides git's files in HOME. Read only after one was refused.
const OWNERSHIP = ['KEYRACK_SAFE_DIRECTORY', 'XDG_CONFIG_HOME', 'GIT_CONFIG_GLOBAL', 'GIT_CONFIG_SYSTEM', 'GIT_CONFIG_NOSYSTEM'];

const INVOCATIONS = ['keyrack', 'npx keyrack', 'pnpm keyrack', 'yarn keyrack', 'rhx keyrack'];

/** How keyrack was called: what a wrapper claims if it is one of the known ways, else by the npm package. */
function invokedAs() {
  const claim = process.env.KEYRACK_INVOKED_AS;
  if (INVOCATIONS.includes(claim)) return claim;
  // Where there is no node_modules, npx would look for keyrack in the registry.
  return process.versions.pnp ? 'yarn keyrack' : 'npx keyrack';
}

/** The working directory; `/`, where no repository is, when it has been removed. */
function directory() {
  try {
    return process.cwd();
  } catch {
    return '/';
  }
}

/** The value of a variable; `undefined` if it is not set. What `process.env` inherits (`constructor`, `__proto__`) is no variable. */
function variable(name) {
  const value = Object.hasOwn(process.env, name) ? process.env[name] : undefined;
  // A test runner's `process.env` is an object like any other, which takes more than text.
  return value === undefined || value === null ? undefined : String(value);
}

/** The realm as the addon takes it, with whose rack is meant, how long the daemon may take, and where the caller stands. */
function callContext(owner, deadlineMs, cwd = directory()) {
  // One string crosses faster than a dozen; no variable can hold a NUL.
  let env = '';
  for (const name of NAMES) {
    const value = name === 'KEYRACK_INVOKED_AS' && process.versions.pnp ? invokedAs() : variable(name);
    if (value !== undefined) env += `${name}=${value}\0`;
  }
  return ownProperties({ cwd, env, owner, deadlineMs });
}

/** Makes a call of the addon, and once more with all that may accept another user's repository where it refuses one. */
function withOwnership(request, call) {
  try {
    return call();
  } catch (error) {
    if (error?.code !== 'repository_untrusted') throw error;
    let more = '';
    for (const name of OWNERSHIP) {
      const value = variable(name);
      if (value !== undefined) more += `${name}=${value}\0`;
    }
    if (more === '') throw error;
    request.context.env += more;
    return call();
  }
}

module.exports = { INVOCATIONS, NAMES, OWNERSHIP, callContext, directory, invokedAs, variable, withOwnership };
