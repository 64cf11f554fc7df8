'use strict';
// Loads the addon once, at the first call that needs it. `require('keyrack')` itself always
// succeeds.

const path = require('node:path');
const { KeyrackError } = require('./error.js');
const { SUPPORTED, installedPlatforms, isBundled, platformDirectory, platformName, repair, root } = require('./platform.js');
const { version } = require('../package.json');

let loaded;

/** Returns the fields of a KeyrackError for a native part that cannot be loaded. */
function missing(cause) {
  const name = platformName();
  if (!SUPPORTED.includes(name)) {
    return {
      code: 'unsupported_platform',
      message: `keyrack is not built for ${name}; it runs on ${SUPPORTED.join(', ')}`,
      hint: 'without it, get and source only return values of the environment',
      cause,
    };
  }
  // Most processes never need it.
  const { explain, factsOf } = require('./diagnose.js');
  const facts = factsOf({ name, directory: platformDirectory(name), root, bundled: isBundled(), installed: installedPlatforms(), repair: repair() });
  const { message, fix, hint } = explain(cause, facts);
  return { code: 'binding_missing', message: `the native part of keyrack for ${name} cannot be loaded: ${message}`, fix, hint, cause };
}

/** Returns the addon. Throws a KeyrackError if there is none. */
function binding() {
  if (loaded) return loaded;
  const name = platformName();
  let addon;
  try {
    const directory = SUPPORTED.includes(name) ? platformDirectory(name) : null;
    if (directory === null) throw new Error(`the package @keyrack/${name} is not installed`);
    addon = require(path.join(directory, 'keyrack.node'));
    if (typeof addon.version !== 'function') throw new Error(`${path.join(directory, 'keyrack.node')} is another addon`);
    if (addon.version() !== version) throw new Error(`it has version ${addon.version()}, this package ${version}`);
  } catch (cause) {
    throw new KeyrackError(missing(cause));
  }
  loaded = addon;
  return loaded;
}

/** Returns the addon, `null` if there is none. */
function bindingOrNull() {
  try {
    return binding();
  } catch (error) {
    if (error instanceof KeyrackError) return null;
    throw error;
  }
}

module.exports = { binding, bindingOrNull, missing };
