'use strict';
// status and relock: list and erase the keys that the daemon of this login session holds.

const { binding } = require('./binding.js');
const { callContext } = require('./call_context.js');
const { decodeReply } = require('./decode.js');
const { DEADLINE_MS } = require('./get.js');
const { validateOptions, validateString, validateTimeout } = require('./validate.js');

/** Validates the options of a call. */
function buildRequest(call, given, names) {
  const input = validateOptions(call, given, ['owner', 'timeoutMs', 'env', ...names]);
  const owner = validateString(`${call}: owner`, input.owner);
  return {
    context: callContext(owner, validateTimeout(`${call}: timeoutMs`, input.timeoutMs, DEADLINE_MS)),
    env: validateString(`${call}: env`, input.env),
    key: validateString(`${call}: key`, input.key),
  };
}

function status(input = {}) {
  const { context, env } = buildRequest('status', input, []);
  return decodeReply(binding().status(context.text, context.deadlineMs, env));
}

function relock(input = {}) {
  const { context, env, key } = buildRequest('relock', input, ['key']);
  return decodeReply(binding().relock(context.text, context.deadlineMs, env, key));
}

module.exports = { relock, status };
