'use strict';
// Paths of this package's binaries, for wrappers that exec them.

const path = require('node:path');
const { KeyrackError } = require('../lib/error.js');
const { missing } = require('../lib/binding.js');
const { isThere, platformDirectory, platformName } = require('../lib/platform.js');

function binaryPath(name = 'keyrack') {
  if (name !== 'keyrack' && name !== 'keyrackd') throw new TypeError("binaryPath: name must be 'keyrack' or 'keyrackd'");
  const directory = platformDirectory(platformName());
  const file = directory && path.join(directory, 'bin', name);
  if (!file || !isThere(file)) throw new KeyrackError(missing(new Error(`${file ?? 'bin/' + name} is not there`)));
  return file;
}

module.exports = { binaryPath };
