'use strict';
// The calls of today's users that carry a context: which repository, whose rack. The context opens nothing and asks nobody.

const path = require('node:path');
const argument = require('./argument.js');
const { answer } = require('./answer.js');
const { binding, bindingOrNull } = require('./binding.js');
const { allowsDangerous } = require('./change.js');
const { DEADLINE_MS, ask } = require('./get.js');
const { directory, realm } = require('./realm.js');

/** Where no repository is. */
const NOWHERE = '/';

/** The manifest of a repository with each key by its slug, `null` where there is none. */
function manifest(gitroot) {
  const addon = bindingOrNull();
  const found = addon === null ? require('./declared.js').manifestOf(gitroot, binding) : answer(addon.manifest(realm(undefined, DEADLINE_MS, gitroot)));
  return found && { ...found, keys: Object.fromEntries(found.keys.map((key) => [key.slug, key])) };
}

async function genContextKeyrackGrantGet(input) {
  argument.options('genContextKeyrackGrantGet', input, ['gitroot', 'owner']);
  const given = argument.text('genContextKeyrackGrantGet: gitroot', input.gitroot) ?? null;
  const gitroot = given && path.resolve(directory(), given);
  const owner = argument.text('genContextKeyrackGrantGet: owner', input.owner) ?? null;
  return { owner, gitroot, repoManifest: gitroot === null ? null : manifest(gitroot) };
}

async function getKeyrackKeyGrant(input, context) {
  const call = 'getKeyrackKeyGrant';
  argument.options(call, input, ['for', 'slugs', 'env', 'org', 'allow']);
  if (typeof context !== 'object' || context === null) throw argument.mistake(`${call}: the second argument must be a context, as genContextKeyrackGrantGet makes it`);
  argument.options(`${call}: for`, input.for, ['key', 'repo']);
  const key = argument.text(`${call}: for.key`, input.for.key);
  if (argument.flag(`${call}: for.repo`, input.for.repo) === (key !== undefined)) throw argument.mistake(`${call}: for must be { key } or { repo: true }`);
  const env = argument.text(`${call}: env`, input.env);
  const owner = argument.text(`${call}: the context's owner`, context.owner);
  const gitroot = argument.text(`${call}: the context's gitroot`, context.gitroot) ?? NOWHERE;
  const asked = { realm: realm(owner, DEADLINE_MS, gitroot), dangerous: allowsDangerous(call, input.allow), buffer: false, color: false };
  if (key !== undefined) {
    return ask({ ...asked, key, inEnv: env, org: argument.text(`${call}: org`, input.org) }).attempt;
  }
  if (!Array.isArray(input.slugs)) throw argument.mistake(`${call}: slugs must be an array of slugs`);
  // Each slug names its env itself.
  return ask({ ...asked, keys: argument.texts(`${call}: slugs`, input.slugs) }).attempts;
}

module.exports = { genContextKeyrackGrantGet, getKeyrackKeyGrant };
