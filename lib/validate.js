'use strict';
// Arguments as callers give them. A wrong type is a TypeError that names the argument; what a right type may say is for the addon to judge.

const { ownProperties } = require('./own_properties.js');

/** The errors made here: a TypeError from anywhere else is a bug. */
const made = new WeakSet();

/** A TypeError for a caller's mistake. */
function argumentError(message) {
  const error = new TypeError(message);
  made.add(error);
  return error;
}

/** Returns `true` for an error that says what is wrong with an argument. */
const isArgumentError = (error) => made.has(error);

function fail(path, wanted, value) {
  const got = value === null ? 'null' : Array.isArray(value) ? 'an array' : typeof value;
  throw argumentError(`${path} must be ${wanted}, not ${got}`);
}

/**
 * The options of an object, copied: its own properties only, each read once. Unknown names are refused: a misspelt option must not pass
 * for its default.
 */
function validateOptions(call, input, names) {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) fail(`${call}: the argument`, 'an object', input);
  for (const name of Object.keys(input)) {
    if (!names.includes(name)) throw argumentError(`${call}: there is no option ${name}; the options are ${names.join(', ')}`);
  }
  return ownProperties(input);
}

/** An optional string; `null` counts as not given. An empty one is a TypeError. */
function validateString(path, value) {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'string') fail(path, 'a string', value);
  if (value === '' || value.includes('\0')) throw argumentError(`${path} must not be ${value === '' ? 'empty' : 'text with a NUL in it'}`);
  return value;
}

/** A string that must be given. */
function requireString(path, value) {
  return validateString(path, value) ?? fail(path, 'a string', value);
}

/** One string or several. */
function validateStrings(path, value) {
  if (value === undefined || value === null) return [];
  if (Array.isArray(value)) return value.map((each, index) => requireString(`${path}[${index}]`, each));
  return [requireString(path, value)];
}

/** An optional boolean, false when not given. */
function validateBoolean(path, value) {
  if (value === undefined) return false;
  if (typeof value !== 'boolean') fail(path, 'a boolean', value);
  return value;
}

/** One of a few words, the first when not given. */
function validateOneOf(path, value, words) {
  if (value === undefined) return words[0];
  if (!words.includes(value)) {
    if (typeof value !== 'string') fail(path, words.map((each) => `'${each}'`).join(' or '), value);
    throw argumentError(`${path} must be ${words.map((each) => `'${each}'`).join(' or ')}, not '${value}'`);
  }
  return value;
}

/** Milliseconds: a positive whole number that a timer of node can take. */
function validateTimeout(path, value, otherwise) {
  if (value === undefined) return otherwise;
  if (typeof value !== 'number') fail(path, 'a number of milliseconds', value);
  if (!Number.isInteger(value) || value < 1 || value > 0x7fffffff) {
    throw argumentError(`${path} must be a whole number of milliseconds between 1 and 2147483647, not ${value}`);
  }
  return value;
}

/** An optional AbortSignal, of whatever realm. */
function validateSignal(path, value) {
  if (value === undefined) return undefined;
  if (typeof value !== 'object' || value === null || typeof value.aborted !== 'boolean' || typeof value.addEventListener !== 'function') {
    fail(path, 'an AbortSignal', value);
  }
  return value;
}

module.exports = { argumentError, isArgumentError, requireString, validateBoolean, validateOneOf, validateOptions, validateSignal, validateString, validateStrings, validateTimeout };
