'use strict';
// Where the binaries of this package are, for wrappers that exec them.

const fs = require('node:fs');
const path = require('node:path');
const { KeyrackError } = require('../lib/error.js');
const { missing } = require('../lib/binding.js');
const { platformDirectory, platformName } = require('../lib/platform.js');

function binaryPath(name = 'keyrack') {
  if (name !== 'keyrack' && name !== 'keyrackd') throw new TypeError("binaryPath: name is 'keyrack' or 'keyrackd'");
  const directory = platformDirectory(platformName());
  const file = directory && path.join(directory, 'bin', name);
  if (!file || !fs.existsSync(file)) throw new KeyrackError(missing(new Error(`${file ?? 'bin/' + name} is not there`)));
  return file;
}

module.exports = { binaryPath };
