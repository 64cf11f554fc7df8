'use strict';
// A secret a caller can wipe. A JavaScript string can never be: it is copied and moved by the collector.

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

  /** Whether it has been erased. */
  get erased() {
    return this.#bytes.length === 0;
  }

  /** Overwrites the bytes with zeros and lets go of them. Every view of them sees the zeros. */
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

/** For `using`. Node before 20.4 has no Symbol.dispose, nor have the contexts of test runners; who brings one may do so after us. */
function makeDisposable() {
  if (typeof Symbol.dispose !== 'symbol' || Object.hasOwn(ErasableSecret.prototype, Symbol.dispose)) return;
  Object.defineProperty(ErasableSecret.prototype, Symbol.dispose, { value: ErasableSecret.prototype.erase, configurable: true, writable: true });
}
makeDisposable();

module.exports = { ErasableSecret };
