'use strict';
// The package's API. The addon reads in this process; the command changes things in a child
// process.

const { del, set, unlock } = require('./lib/mutations.js');
const context = require('./lib/context.js');
const { KeyrackError } = require('./lib/error.js');
const { formatKeyrackGetAllOutput, formatKeyrackGetOneOutput, formatKeyrackKeyBranch } = require('./lib/format.js');
const { get, getSync } = require('./lib/get.js');
const { ErasableSecret } = require('./lib/secret.js');
const { source } = require('./lib/source.js');
const { relock, status } = require('./lib/status.js');
const { wrapCall } = require('./lib/api.js');

// Written out, so that tools which read types from this file see each name.
const keyrack = {
  get: wrapCall('get', get),
  getSync: wrapCall('getSync', getSync),
  source: wrapCall('source', source),
  status: wrapCall('status', status),
  relock: wrapCall('relock', relock),
  unlock: wrapCall('unlock', unlock),
  set: wrapCall('set', set),
  del: wrapCall('del', del),
};
const genContextKeyrackGrantGet = wrapCall('genContextKeyrackGrantGet', context.genContextKeyrackGrantGet);
const getKeyrackKeyGrant = wrapCall('getKeyrackKeyGrant', context.getKeyrackKeyGrant);

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
// Transpilers look for this, so that `import keyrack from 'keyrack'` means the same if it is
// compiled to require.
Object.defineProperty(module.exports, '__esModule', { value: true });
