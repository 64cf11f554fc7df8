'use strict';
// What the addon hands back: everything but secrets as JSON, which becomes objects of this realm here, and failures to be thrown.

const { KeyrackError } = require('./error.js');

/** Parses a reply of the addon, or throws the error it carries. */
function decodeReply(json) {
  const value = JSON.parse(json);
  if (value !== null && Object.hasOwn(value, 'error')) throw new KeyrackError(value.error);
  return value;
}

module.exports = { decodeReply };
