'use strict';
// The face of keyrack in Node. Reading is done in this process by the addon; changing, by the command in a child process.

const { del, set, unlock } = require('./lib/change.js');
const { genContextKeyrackGrantGet, getKeyrackKeyGrant } = require('./lib/context.js');
const { KeyrackError } = require('./lib/error.js');
const { formatKeyrackGetAllOutput, formatKeyrackGetOneOutput, formatKeyrackKeyBranch } = require('./lib/format.js');
const { get, getSync } = require('./lib/get.js');
const { ErasableSecret } = require('./lib/secret.js');
const { source } = require('./lib/source.js');
const { relock, status } = require('./lib/status.js');

const keyrack = { get, getSync, source, status, relock, unlock, set, del };

module.exports = {
  ...keyrack,
  keyrack,
  KeyrackError,
  ErasableSecret,
  formatKeyrackGetAllOutput,
  formatKeyrackGetOneOutput,
  formatKeyrackKeyBranch,
  genContextKeyrackGrantGet,
  getKeyrackKeyGrant,
  default: keyrack,
};
// What transpilers look for, so that `import keyrack from 'keyrack'` means the same wherever it is compiled to require.
Object.defineProperty(module.exports, '__esModule', { value: true });
