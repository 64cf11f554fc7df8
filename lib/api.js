'use strict';
// The boundary of the package: every failure leaves as a KeyrackError, or as the TypeError that
// names a wrong argument.

const { isPromise } = require('node:util').types;
const { isArgumentError } = require('./validate.js');
const { KeyrackError } = require('./error.js');

/**
 * Returns the error to hand to a caller. An unforeseen one is a bug of keyrack, or of a host that
 * replaces node's own functions.
 */
function toPublicError(name, error) {
  if (error instanceof KeyrackError || isArgumentError(error)) return error;
  const said = error instanceof Error ? error.message : String(error);
  return new KeyrackError({ code: 'internal', message: `${name} failed: ${said}`, cause: error });
}

/**
 * Wraps a function of the API, synchronous or not, so that its errors leave through
 * `toPublicError`.
 */
function wrapCall(name, call) {
  const guard = {
    [name](...given) {
      try {
        const answer = call(...given);
        if (!isPromise(answer)) return answer;
        return answer.then(undefined, (error) => Promise.reject(toPublicError(name, error)));
      } catch (error) {
        throw toPublicError(name, error);
      }
    },
  };
  Object.defineProperty(guard[name], 'length', { value: call.length, configurable: true });
  return guard[name];
}

module.exports = { wrapCall };
