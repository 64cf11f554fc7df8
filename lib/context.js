'use strict';
// Calls with a context (repository and owner), as users of rhachet know them. A context keeps
// nothing open.

const path = require('node:path');
const { argumentError, validateBoolean, validateOptions, validateString, validateStrings } = require('./validate.js');
const { decodeReply } = require('./decode.js');
const { binding, bindingOrNull } = require('./binding.js');
const { allowsDangerous } = require('./mutations.js');
const { DEADLINE_MS, readKeys } = require('./get.js');
const { ownProperties } = require('./own_properties.js');
const { directory, callContext, withOwnership } = require('./call_context.js');

/** Directory without a repository. */
const NOWHERE = '/';

/** Returns the manifest of a repository with each key by its slug, `null` if there is none. */
function manifest(gitroot) {
  const addon = bindingOrNull();
  const context = callContext(undefined, DEADLINE_MS, gitroot);
  const found = addon === null ? require('./manifest_fallback.js').manifestOf(gitroot, binding) : withOwnership(context, (text) => decodeReply(addon.manifest(text, context.deadlineMs)));
  return found && { ...found, keys: Object.fromEntries(found.keys.map((key) => [key.slug, key])) };
}

async function genContextKeyrackGrantGet(given) {
  const input = validateOptions('genContextKeyrackGrantGet', given, ['gitroot', 'owner']);
  const gitrootOption = validateString('genContextKeyrackGrantGet: gitroot', input.gitroot) ?? null;
  const gitroot = gitrootOption && path.resolve(directory(), gitrootOption);
  const owner = validateString('genContextKeyrackGrantGet: owner', input.owner) ?? null;
  return { owner, gitroot, repoManifest: gitroot === null ? null : manifest(gitroot) };
}

async function getKeyrackKeyGrant(given, context) {
  const call = 'getKeyrackKeyGrant';
  const input = validateOptions(call, given, ['for', 'slugs', 'env', 'org', 'allow']);
  if (typeof context !== 'object' || context === null) throw argumentError(`${call}: the second argument must be a context, as genContextKeyrackGrantGet makes it`);
  const wanted = validateOptions(`${call}: for`, input.for, ['key', 'repo']);
  const key = validateString(`${call}: for.key`, wanted.key);
  if (validateBoolean(`${call}: for.repo`, wanted.repo) === (key !== undefined)) throw argumentError(`${call}: for must be { key } or { repo: true }`);
  const env = validateString(`${call}: env`, input.env);
  const where = ownProperties(context);
  const owner = validateString(`${call}: the context's owner`, where.owner);
  const gitroot = validateString(`${call}: the context's gitroot`, where.gitroot) ?? NOWHERE;
  const request = { context: callContext(owner, DEADLINE_MS, gitroot), dangerous: allowsDangerous(call, input.allow), buffer: false, color: false };
  if (key !== undefined) {
    return readKeys(ownProperties({ ...request, key, env, org: validateString(`${call}: org`, input.org) })).attempt;
  }
  if (!Array.isArray(input.slugs)) throw argumentError(`${call}: slugs must be an array of slugs`);
  // Each slug names its env.
  return readKeys(ownProperties({ ...request, keys: validateStrings(`${call}: slugs`, input.slugs) })).attempts;
}

module.exports = { genContextKeyrackGrantGet, getKeyrackKeyGrant };
