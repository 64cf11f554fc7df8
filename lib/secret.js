'use strict';
// A secret that a caller can wipe. A JavaScript string cannot be wiped: the garbage collector
// copies and moves it.

const inspect = Symbol.for('nodejs.util.inspect.custom');
const shown = 'ErasableSecret { bytes: [hidden] }';

class ErasableSecret {
  #bytes;

  constructor(bytes) {
    makeDisposable();
    this.#bytes = bytes;
  }

  /** The secret itself, not a copy. Empty once erased. */
  get bytes() {
    return this.#bytes;
  }

  /** `true` once erased. */
  get erased() {
    return this.#bytes.length === 0;
  }

  /** Overwrites the bytes with zeros, in every view of them, and drops them. */
  erase() {
    this.#bytes.fill(0);
    this.#bytes = new Uint8Array(0);
  }

  // A secret is never printed by accident: by console.log, JSON.stringify, or in a template.
  [inspect]() {
    return shown;
  }

  toJSON() {
    return '[hidden]';
  }

  toString() {
    return shown;
  }
}

/**
 * Adds the method of `using`. Node before 20.4 and the contexts of test runners have no
 * Symbol.dispose; a polyfill may be loaded after keyrack.
 */
function makeDisposable() {
  if (typeof Symbol.dispose !== 'symbol' || Object.hasOwn(ErasableSecret.prototype, Symbol.dispose)) return;
  Object.defineProperty(ErasableSecret.prototype, Symbol.dispose, { value: ErasableSecret.prototype.erase, configurable: true, writable: true });
}
makeDisposable();

module.exports = { ErasableSecret };
