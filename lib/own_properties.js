'use strict';
// Objects independent of `Object.prototype`: a polluted one adds no option, and its setters receive
// no value.

/** A copy of an object's own properties, without a prototype. */
const ownProperties = (object) => ({ __proto__: null, ...object });

/**
 * Defines a property as an assignment would make it, past any setter of that name on the prototype.
 */
function defineProperty(object, name, value) {
  return Object.defineProperty(object, name, { __proto__: null, value, configurable: true, enumerable: true, writable: true });
}

module.exports = { defineProperty, ownProperties };
