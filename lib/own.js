'use strict';
// Objects that `Object.prototype` has no say in: what a polluted one holds is no option, and a setter on it receives no value.

/** A copy of an object's own properties, without a prototype. */
const own = (object) => ({ __proto__: null, ...object });

/** Defines a property as an assignment would make it, past any setter of that name on the prototype. */
function define(object, name, value) {
  return Object.defineProperty(object, name, { __proto__: null, value, configurable: true, enumerable: true, writable: true });
}

module.exports = { define, own };
