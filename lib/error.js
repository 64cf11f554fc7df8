'use strict';
// The error that keyrack throws for everything except an argument of a wrong type.

const { defineProperty, ownProperties } = require('./own_properties.js');

/**
 * Failure that a caller can act on. Programs read `code`; the text is for people and holds no
 * secret.
 */
class KeyrackError extends Error {
  /**
   * @param {{ code: string, message: string, exit?: number, slug?: string, fix?: string, hint?:
   * string, attempts?: object[], detail?: string, cause?: unknown }} problem
   */
  constructor(problem) {
    const { message, code, exit, hint, ...more } = ownProperties(problem);
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    defineProperty(this, 'code', code);
    defineProperty(this, 'exit', exit ?? 1);
    // An unknown field is absent, so that a printed error shows only what is known.
    for (const field of ['slug', 'fix', 'attempts', 'detail']) {
      if (Object.hasOwn(more, field) && more[field] !== undefined && more[field] !== null) defineProperty(this, field, more[field]);
    }
    defineProperty(this, 'metadata', hint ? { hint } : {});
  }
}
Object.defineProperty(KeyrackError.prototype, 'name', { value: 'KeyrackError', configurable: true, writable: true });

module.exports = { KeyrackError };
