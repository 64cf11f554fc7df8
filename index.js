'use strict';
// The face of keyrack in Node. Reading is done in this process by the addon; changing, by the command in a child process.

const { del, set, unlock } = require('./lib/change.js');
const context = require('./lib/context.js');
const { KeyrackError } = require('./lib/error.js');
const { formatKeyrackGetAllOutput, formatKeyrackGetOneOutput, formatKeyrackKeyBranch } = require('./lib/format.js');
const { get, getSync } = require('./lib/get.js');
const { ErasableSecret } = require('./lib/secret.js');
const { source } = require('./lib/source.js');
const { relock, status } = require('./lib/status.js');
const { guarded } = require('./lib/face.js');

// Written out, so that tools which read types from this file see each name.
const keyrack = {
  get: guarded('get', get),
  getSync: guarded('getSync', getSync),
  source: guarded('source', source),
  status: guarded('status', status),
  relock: guarded('relock', relock),
  unlock: guarded('unlock', unlock),
  set: guarded('set', set),
  del: guarded('del', del),
};
const genContextKeyrackGrantGet = guarded('genContextKeyrackGrantGet', context.genContextKeyrackGrantGet);
const getKeyrackKeyGrant = guarded('getKeyrackKeyGrant', context.getKeyrackKeyGrant);

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
