'use strict';
// The calls of today's users that carry a context: which repository, whose rack. The context opens nothing and asks nobody.

const path = require('node:path');
const argument = require('./argument.js');
const { answer } = require('./answer.js');
const { binding, bindingOrNull } = require('./binding.js');
const { allowsDangerous } = require('./change.js');
const { DEADLINE_MS, ask } = require('./get.js');
const { own } = require('./own.js');
const { directory, realm, withOwnership } = require('./realm.js');

/** Where no repository is. */
const NOWHERE = '/';

/** The manifest of a repository with each key by its slug, `null` where there is none. */
function manifest(gitroot) {
  const addon = bindingOrNull();
  const asked = own({ realm: realm(undefined, DEADLINE_MS, gitroot) });
  const found = addon === null ? require('./declared.js').manifestOf(gitroot, binding) : withOwnership(asked, () => answer(addon.manifest(asked.realm)));
  return found && { ...found, keys: Object.fromEntries(found.keys.map((key) => [key.slug, key])) };
}

async function genContextKeyrackGrantGet(asked) {
  const input = argument.options('genContextKeyrackGrantGet', asked, ['gitroot', 'owner']);
  const given = argument.text('genContextKeyrackGrantGet: gitroot', input.gitroot) ?? null;
  const gitroot = given && path.resolve(directory(), given);
  const owner = argument.text('genContextKeyrackGrantGet: owner', input.owner) ?? null;
  return { owner, gitroot, repoManifest: gitroot === null ? null : manifest(gitroot) };
}

async function getKeyrackKeyGrant(given, context) {
  const call = 'getKeyrackKeyGrant';
  const input = argument.options(call, given, ['for', 'slugs', 'env', 'org', 'allow']);
  if (typeof context !== 'object' || context === null) throw argument.mistake(`${call}: the second argument must be a context, as genContextKeyrackGrantGet makes it`);
  const wanted = argument.options(`${call}: for`, input.for, ['key', 'repo']);
  const key = argument.text(`${call}: for.key`, wanted.key);
  if (argument.flag(`${call}: for.repo`, wanted.repo) === (key !== undefined)) throw argument.mistake(`${call}: for must be { key } or { repo: true }`);
  const env = argument.text(`${call}: env`, input.env);
  const where = own(context);
  const owner = argument.text(`${call}: the context's owner`, where.owner);
  const gitroot = argument.text(`${call}: the context's gitroot`, where.gitroot) ?? NOWHERE;
  const asked = { realm: realm(owner, DEADLINE_MS, gitroot), dangerous: allowsDangerous(call, input.allow), buffer: false, color: false };
  if (key !== undefined) {
    return ask(own({ ...asked, key, inEnv: env, org: argument.text(`${call}: org`, input.org) })).attempt;
  }
  if (!Array.isArray(input.slugs)) throw argument.mistake(`${call}: slugs must be an array of slugs`);
  // Each slug names its env itself.
  return ask(own({ ...asked, keys: argument.texts(`${call}: slugs`, input.slugs) })).attempts;
}

module.exports = { genContextKeyrackGrantGet, getKeyrackKeyGrant };
