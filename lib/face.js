'use strict';
// The edge of the package: whatever fails leaves as a KeyrackError, or as the TypeError that names a wrong argument.

const { isPromise } = require('node:util').types;
const { isMistake } = require('./argument.js');
const { KeyrackError } = require('./error.js');

/** Returns the error to hand to a caller. An unforeseen one is a bug of keyrack, or of a host that replaces node's own functions. */
function handedOut(name, error) {
  if (error instanceof KeyrackError || isMistake(error)) return error;
  const said = error instanceof Error ? error.message : String(error);
  return new KeyrackError({ code: 'internal', message: `${name} failed: ${said}`, cause: error });
}

/** A call of the face, synchronous or not. */
function guarded(name, call) {
  const guard = {
    [name](...given) {
      try {
        const answer = call(...given);
        if (!isPromise(answer)) return answer;
        return answer.then(undefined, (error) => Promise.reject(handedOut(name, error)));
      } catch (error) {
        throw handedOut(name, error);
      }
    },
  };
  Object.defineProperty(guard[name], 'length', { value: call.length, configurable: true });
  return guard[name];
}

module.exports = { guarded };
