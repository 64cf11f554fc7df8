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
const { wrapAsync, wrapSync } = require('./lib/api.js');

// Written out, so that tools which read types from this file see each name.
const keyrack = {
  get: wrapAsync('get', get),
  getSync: wrapSync('getSync', getSync),
  source: wrapSync('source', source),
  status: wrapSync('status', status),
  relock: wrapSync('relock', relock),
  unlock: wrapAsync('unlock', unlock),
  set: wrapAsync('set', set),
  del: wrapAsync('del', del),
};
const genContextKeyrackGrantGet = wrapAsync('genContextKeyrackGrantGet', context.genContextKeyrackGrantGet);
const getKeyrackKeyGrant = wrapAsync('getKeyrackKeyGrant', context.getKeyrackKeyGrant);

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
