'use strict';
// Validates the types of arguments. A wrong type is a TypeError that names the argument; the addon
// validates the values.

const { ownProperties } = require('./own_properties.js');

/** Errors made here. A TypeError from anywhere else is a bug. */
const made = new WeakSet();

/** Makes a TypeError for an invalid argument. */
function argumentError(message) {
  const error = new TypeError(message);
  made.add(error);
  return error;
}

/** Returns `true` for an error that {@link argumentError} made. */
const isArgumentError = (error) => made.has(error);

function fail(path, wanted, value) {
  const got = value === null ? 'null' : Array.isArray(value) ? 'an array' : typeof value;
  throw argumentError(`${path} must be ${wanted}, not ${got}`);
}

/**
 * Copies the options of an object: only its own properties, each read once. Rejects unknown names,
 * so that a misspelled option is not taken for its default.
 */
function validateOptions(call, input, names) {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) fail(`${call}: the argument`, 'an object', input);
  for (const name of Object.keys(input)) {
    if (!names.includes(name)) throw argumentError(`${call}: there is no option ${name}; the options are ${names.join(', ')}`);
  }
  return ownProperties(input);
}

/** Validates an optional string; `null` counts as absent. An empty one is a TypeError. */
function validateString(path, value) {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'string') fail(path, 'a string', value);
  if (value === '' || value.includes('\0')) throw argumentError(`${path} must not ${value === '' ? 'be empty' : 'contain a NUL character'}`);
  return value;
}

/** Validates a required string. */
function requireString(path, value) {
  return validateString(path, value) ?? fail(path, 'a string', value);
}

/** Validates one string or several. */
function validateStrings(path, value) {
  if (value === undefined || value === null) return [];
  if (Array.isArray(value)) return value.map((each, index) => requireString(`${path}[${index}]`, each));
  return [requireString(path, value)];
}

/** Validates an optional boolean; default false. */
function validateBoolean(path, value) {
  if (value === undefined) return false;
  if (typeof value !== 'boolean') fail(path, 'a boolean', value);
  return value;
}

/** Validates one of several words; default the first. */
function validateOneOf(path, value, words) {
  if (value === undefined) return words[0];
  if (!words.includes(value)) {
    if (typeof value !== 'string') fail(path, words.map((each) => `'${each}'`).join(' or '), value);
    throw argumentError(`${path} must be ${words.map((each) => `'${each}'`).join(' or ')}, not '${value}'`);
  }
  return value;
}

/** Validates a number of milliseconds: a positive integer that a timer of Node accepts. */
function validateTimeout(path, value, otherwise) {
  if (value === undefined) return otherwise;
  if (typeof value !== 'number') fail(path, 'a number of milliseconds', value);
  if (!Number.isInteger(value) || value < 1 || value > 0x7fffffff) {
    throw argumentError(`${path} must be a whole number of milliseconds between 1 and 2147483647, not ${value}`);
  }
  return value;
}

/** Validates an optional AbortSignal of any realm. */
function validateSignal(path, value) {
  if (value === undefined) return undefined;
  if (typeof value !== 'object' || value === null || typeof value.aborted !== 'boolean' || typeof value.addEventListener !== 'function') {
    fail(path, 'an AbortSignal', value);
  }
  return value;
}

module.exports = { argumentError, isArgumentError, requireString, validateBoolean, validateOneOf, validateOptions, validateSignal, validateString, validateStrings, validateTimeout };
