'use strict';
// The one error keyrack throws for anything but a wrong argument type.

/** A failure a caller can act on. `code` is what programs read; the words are for people and hold no secret. */
class KeyrackError extends Error {
  /** @param {{ code: string, message: string, exit?: number, slug?: string, fix?: string, hint?: string, attempts?: object[], detail?: string, cause?: unknown }} problem */
  constructor(problem) {
    super(problem.message, problem.cause === undefined ? undefined : { cause: problem.cause });
    this.code = problem.code;
    this.exit = problem.exit ?? 1;
    // What is not known is not there at all, so that a printed error shows only what there is.
    for (const field of ['slug', 'fix', 'attempts', 'detail']) {
      if (problem[field] !== undefined && problem[field] !== null) this[field] = problem[field];
    }
    this.metadata = problem.hint ? { hint: problem.hint } : {};
  }
}
Object.defineProperty(KeyrackError.prototype, 'name', { value: 'KeyrackError', configurable: true, writable: true });

module.exports = { KeyrackError };
