'use strict';
// The boundary of the package: every failure leaves as a KeyrackError, or as the TypeError that
// names a wrong argument.

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

/** Gives a wrapper the number of parameters of the function that it wraps. */
const withLength = (wrapper, call) => Object.defineProperty(wrapper, 'length', { value: call.length, configurable: true });

/** Wraps a synchronous function of the API, so that its errors leave through `toPublicError`. */
function wrapSync(name, call) {
  const wrapper = {
    [name](...given) {
      try {
        return call(...given);
      } catch (error) {
        throw toPublicError(name, error);
      }
    },
  };
  return withLength(wrapper[name], call);
}

/** Wraps an asynchronous function of the API in the same way. */
function wrapAsync(name, call) {
  const wrapper = {
    [name](...given) {
      return call(...given).then(undefined, (error) => Promise.reject(toPublicError(name, error)));
    },
  };
  return withLength(wrapper[name], call);
}

module.exports = { wrapAsync, wrapSync };
