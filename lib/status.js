'use strict';
// status and relock: what the daemon of this login session holds, and the end of it.

const { validateOptions, validateString, validateTimeout } = require('./validate.js');
const { decodeReply } = require('./decode.js');
const { binding } = require('./binding.js');
const { DEADLINE_MS } = require('./get.js');
const { ownProperties } = require('./own_properties.js');
const { callContext } = require('./call_context.js');

function buildRequest(call, given, names) {
  const input = validateOptions(call, given, ['owner', 'timeoutMs', 'env', ...names]);
  const owner = validateString(`${call}: owner`, input.owner);
  return ownProperties({
    context: callContext(owner, validateTimeout(`${call}: timeoutMs`, input.timeoutMs, DEADLINE_MS)),
    env: validateString(`${call}: env`, input.env),
    key: validateString(`${call}: key`, input.key),
  });
}

function status(input = {}) {
  return decodeReply(binding().status(buildRequest('status', input, [])));
}

function relock(input = {}) {
  return decodeReply(binding().relock(buildRequest('relock', input, ['key'])));
}

module.exports = { relock, status };
