'use strict';
// status and relock: what the daemon of this login session holds, and the end of it.

const argument = require('./argument.js');
const { answer } = require('./answer.js');
const { binding } = require('./binding.js');
const { DEADLINE_MS } = require('./get.js');
const { realm } = require('./realm.js');

function question(call, input, names) {
  argument.options(call, input, ['owner', 'timeoutMs', 'env', ...names]);
  const owner = argument.text(`${call}: owner`, input.owner);
  return {
    realm: realm(owner, argument.milliseconds(`${call}: timeoutMs`, input.timeoutMs, DEADLINE_MS)),
    inEnv: argument.text(`${call}: env`, input.env),
  };
}

function status(input = {}) {
  return answer(binding().status(question('status', input, [])));
}

function relock(input = {}) {
  const asked = question('relock', input, ['key']);
  asked.key = argument.text('relock: key', input.key);
  return answer(binding().relock(asked));
}

module.exports = { relock, status };
