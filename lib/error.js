'use strict';
// The one error keyrack throws for anything but a wrong argument type.

const { defineProperty, ownProperties } = require('./own_properties.js');

/** A failure a caller can act on. `code` is what programs read; the words are for people and hold no secret. */
class KeyrackError extends Error {
  /** @param {{ code: string, message: string, exit?: number, slug?: string, fix?: string, hint?: string, attempts?: object[], detail?: string, cause?: unknown }} problem */
  constructor(problem) {
    const { message, code, exit, hint, ...more } = ownProperties(problem);
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    defineProperty(this, 'code', code);
    defineProperty(this, 'exit', exit ?? 1);
    // What is not known is not there at all, so that a printed error shows only what there is.
    for (const field of ['slug', 'fix', 'attempts', 'detail']) {
      if (Object.hasOwn(more, field) && more[field] !== undefined && more[field] !== null) defineProperty(this, field, more[field]);
    }
    defineProperty(this, 'metadata', hint ? { hint } : {});
  }
}
Object.defineProperty(KeyrackError.prototype, 'name', { value: 'KeyrackError', configurable: true, writable: true });

module.exports = { KeyrackError };
