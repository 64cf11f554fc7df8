'use strict';
// Replies of the addon that hold no secret: JSON, which becomes objects of this realm here.

const { KeyrackError } = require('./error.js');

/** Parses a reply of the addon, or throws the error that it carries. */
function decodeReply(json) {
  const value = JSON.parse(json);
  if (value !== null && Object.hasOwn(value, 'error')) throw new KeyrackError(value.error);
  return value;
}

module.exports = { decodeReply };
