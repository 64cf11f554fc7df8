'use strict';
// status and relock: what the daemon of this login session holds, and the end of it.

const argument = require('./argument.js');
const { answer } = require('./answer.js');
const { binding } = require('./binding.js');
const { DEADLINE_MS } = require('./get.js');
const { own } = require('./own.js');
const { realm } = require('./realm.js');

function question(call, given, names) {
  const input = argument.options(call, given, ['owner', 'timeoutMs', 'env', ...names]);
  const owner = argument.text(`${call}: owner`, input.owner);
  return own({
    realm: realm(owner, argument.milliseconds(`${call}: timeoutMs`, input.timeoutMs, DEADLINE_MS)),
    inEnv: argument.text(`${call}: env`, input.env),
    key: argument.text(`${call}: key`, input.key),
  });
}

function status(input = {}) {
  return answer(binding().status(question('status', input, [])));
}

function relock(input = {}) {
  return answer(binding().relock(question('relock', input, ['key'])));
}

module.exports = { relock, status };
