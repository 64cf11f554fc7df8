'use strict';
// Which keys a repository declares, where there is no addon to read its keyrack.yml. Reads the plain form that keyrack itself writes; at
// anything else it gives up rather than guess.

const fs = require('node:fs');
const path = require('node:path');
const { directory } = require('./realm.js');

/** The root of the git repository we are in, `null` outside of one. */
function gitRoot(from) {
  for (let at = from; ; at = path.dirname(at)) {
    if (fs.existsSync(path.join(at, '.git'))) return at;
    if (at === path.dirname(at)) return null;
  }
}

const word = (text) => text.replace(/\s+#.*$/, '').trim().replace(/^(['"])(.*)\1$/, '$2');
const NAME = /^[A-Za-z_][A-Za-z0-9_.-]*$/;

/** `{ org, extends, envs: { env: [{ name, optionalIfHas? }] } }` of one file, `null` when it says something in a form not read here. */
function parse(text) {
  const file = { org: null, extends: [], envs: new Map() };
  let list = null;
  let record = null;
  for (const line of text.split(/\r?\n/)) {
    if (/^\s*(#.*)?$/.test(line) || line === '---') continue;
    const top = /^([A-Za-z][A-Za-z0-9._-]*):(?:\s+(.*))?$/.exec(line);
    if (top) {
      const value = word(top[2] ?? '');
      record = null;
      list = null;
      if (top[1] === 'org' && value) file.org = value;
      else if (top[1] === 'extends' && value === '') list = file.extends;
      else if (top[1].startsWith('env.') && ['', '[]', '~', 'null'].includes(value)) file.envs.set(top[1].slice(4), (list = []));
      else return null;
      continue;
    }
    const item = /^\s*-\s+(.+)$/.exec(line);
    if (item && list === file.extends) {
      list.push(word(item[1]));
      continue;
    }
    if (item && list) {
      const [, name, value] = /^([^:]+?)(?::(?:\s+(.*))?)?$/.exec(word(item[1])) ?? [];
      record = { name: name === 'key' ? word(value ?? '') : word(name ?? '') };
      if (!NAME.test(record.name)) return null;
      list.push(record);
      if (name !== 'key') record = null;
      continue;
    }
    const field = /^\s+(is-optional-if-has|grade):\s+(.+)$/.exec(line);
    if (!field || !record) return null;
    if (field[1] === 'is-optional-if-has') record.optionalIfHas = word(field[2]);
  }
  return file.org === null ? null : file;
}

/** Adds the keys of `env` that a file and those it extends declare, the extending one's last. */
function gather(root, relative, env, keys, missing, chain) {
  const at = path.join(root, relative);
  if (chain.includes(at) || !(at + path.sep).startsWith(root + path.sep)) missing();
  let text;
  try {
    text = fs.readFileSync(at, 'utf8');
  } catch {
    missing();
  }
  const file = parse(text) ?? missing();
  for (const parent of file.extends) gather(root, parent, env, keys, missing, [...chain, at]);
  for (const each of file.envs.has(env) ? ['all', env] : env === 'all' ? ['all'] : []) {
    for (const key of file.envs.get(each) ?? []) keys.set(key.name, key);
  }
  return file;
}

/** The keys declared for the env that was asked, in order; `missing` throws when that cannot be told here. */
function declared({ inEnv }, missing) {
  const root = gitRoot(directory());
  const relative = path.join('.agent', 'keyrack.yml');
  if (root === null || inEnv === undefined || inEnv === 'sudo' || !fs.existsSync(path.join(root, relative))) missing();
  const keys = new Map();
  const { org } = gather(root, relative, inEnv, keys, missing, []);
  if (keys.size === 0) missing();
  return [...keys.values()].map(({ name, optionalIfHas }) => ({ org, env: inEnv, name, optionalIfHas, slug: `${org}.${inEnv}.${name}` }));
}

module.exports = { declared, gitRoot, parse };
