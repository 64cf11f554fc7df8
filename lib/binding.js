'use strict';
// Loads the addon at the first call that needs it, once. `require('keyrack')` itself succeeds everywhere.

const path = require('node:path');
const { KeyrackError } = require('./error.js');
const { SUPPORTED, platformDirectory, platformName, repair } = require('./platform.js');
const { version } = require('../package.json');

let loaded;

/** What is said when the native part cannot be had, as the fields of a KeyrackError. */
function missing(cause) {
  const name = platformName();
  if (!SUPPORTED.includes(name)) {
    return {
      code: 'unsupported_platform',
      message: `keyrack is not built for ${name}; it runs on ${SUPPORTED.join(', ')}`,
      hint: 'without it only get and source of values that are in the environment work',
      cause,
    };
  }
  return {
    code: 'binding_missing',
    message: `the native part of keyrack for ${name} cannot be loaded: ${cause.message.split('\n', 1)[0]}`,
    ...repair(),
    cause,
  };
}

/** The addon. Throws a KeyrackError when there is none. */
function binding() {
  if (loaded) return loaded;
  const name = platformName();
  let addon;
  try {
    const directory = SUPPORTED.includes(name) ? platformDirectory(name) : null;
    if (directory === null) throw new Error(`the package @keyrack/${name} is not installed`);
    addon = require(path.join(directory, 'keyrack.node'));
    if (addon.version() !== version) throw new Error(`it is of version ${addon.version()}, this package of ${version}`);
  } catch (cause) {
    throw new KeyrackError(missing(cause));
  }
  loaded = addon;
  return loaded;
}

/** The addon, `null` when there is none. */
function bindingOrNull() {
  try {
    return binding();
  } catch (error) {
    if (error instanceof KeyrackError) return null;
    throw error;
  }
}

module.exports = { binding, bindingOrNull, missing };
