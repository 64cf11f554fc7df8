'use strict';
// Which keys a repository declares, where there is no addon to read its keyrack.yml. Reads the plain form that keyrack itself writes; at
// anything else it gives up rather than guess.

const fs = require('node:fs');
const path = require('node:path');

/** The root of the git repository a directory is in, `null` outside of one. */
function gitRoot(from) {
  for (let at = from; ; at = path.dirname(at)) {
    if (fs.existsSync(path.join(at, '.git'))) return at;
    if (at === path.dirname(at)) return null;
  }
}

const MANIFEST = path.join('.agent', 'keyrack.yml');

/** The envs a section can be of. A sudo key is never declared. */
const SECTIONS = ['prod', 'prep', 'test', 'all', 'camp'];

const ORG = /^[^@\-./\s\p{Cc}][^./\s\p{Cc}]*$/u;
const word = (text) => text.replace(/(^|\s+)#.*$/, '').trim().replace(/^(['"])(.*)\1$/, '$2');

/** Whether a key can be called so: as everywhere in keyrack, single dots, letters, digits, `_` and `-`, at most 255 of them. */
const isName = (name) => name.length <= 255 && /^[A-Za-z_][A-Za-z0-9_.-]*$/.test(name) && !name.endsWith('.') && !name.includes('..');

/** Whether a demand is made of words; which they may be, only the addon says. */
const isGrade = (text) => /^[a-z]+(\s*,\s*[a-z]+)*$/.test(text);

/** `{ org, extends, envs: { env: [{ name, grade?, optionalIfHas? }] } }` of one file, `null` when it says something in a form not read here. */
function parse(text) {
  const file = { org: null, extends: [], envs: new Map() };
  const seen = new Set();
  let list = null;
  let record = null;
  for (const line of text.split(/\r?\n/)) {
    if (/^\s*(#.*)?$/.test(line) || line === '---') continue;
    const top = /^([A-Za-z][A-Za-z0-9._-]*):(?:\s+(.*))?$/.exec(line);
    if (top) {
      const [, name, rest] = top;
      const value = word(rest ?? '');
      record = null;
      list = null;
      if (seen.has(name)) return null;
      seen.add(name);
      if (name === 'org' && ORG.test(value) && value.length <= 128) file.org = value;
      else if (name === 'extends' && value === '') list = file.extends;
      else if (name.startsWith('env.') && SECTIONS.includes(name.slice(4)) && ['', '[]', '~', 'null'].includes(value)) file.envs.set(name.slice(4), (list = []));
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
      record = { name: word((name === 'key' ? value : name) ?? '') };
      if (!isName(record.name)) return null;
      list.push(record);
      if (name !== 'key') {
        if (value && !isGrade((record.grade = word(value)))) return null;
        record = null;
      }
      continue;
    }
    const field = /^\s+(is-optional-if-has|grade):\s+(.+)$/.exec(line);
    if (!field || !record) return null;
    const value = word(field[2]);
    if (field[1] === 'grade' && !isGrade(value)) return null;
    record[field[1] === 'grade' ? 'grade' : 'optionalIfHas'] = value;
  }
  // env.all needs a section beside it to apply to.
  if (file.org === null || (file.envs.size === 1 && file.envs.has('all'))) return null;
  return file;
}

/** Adds what a file and those it extends declare, each key by env and name: of two the later wins, and stays where the first stood. */
function gather(root, relative, keys, giveUp, chain) {
  const at = path.join(root, relative);
  if (chain.includes(at) || !(at + path.sep).startsWith(root + path.sep)) giveUp();
  let text;
  try {
    text = fs.readFileSync(at, 'utf8');
  } catch {
    giveUp();
  }
  const file = parse(text) ?? giveUp();
  for (const parent of file.extends) gather(root, parent, keys, giveUp, [...chain, at]);
  const everywhere = file.envs.get('all') ?? [];
  const put = (env, key) => keys.set(`${env}.${key.name}`, { ...key, env });
  for (const key of everywhere) put('all', key);
  for (const [env, own] of file.envs) {
    if (env !== 'all') for (const key of [...everywhere, ...own]) put(env, key);
  }
  return file;
}

/** What the repository with this root declares: `{ org, envs, extends, keys }`, `null` without a keyrack.yml. `giveUp` throws. */
function read(root, giveUp) {
  if (!fs.existsSync(path.join(root, MANIFEST))) return null;
  const keys = new Map();
  const file = gather(root, MANIFEST, keys, giveUp, []);
  const declared = [...keys.values()].map((key) => ({ ...key, org: file.org, slug: `${file.org}.${key.env}.${key.name}` }));
  return { org: file.org, envs: [...file.envs.keys()].filter((env) => env !== 'all'), extends: file.extends, keys: declared };
}

/** The keys declared for the env that was asked, in order: for `all` those of every env. `missing` throws when that cannot be told here. */
function declared({ inEnv, realm }, missing) {
  const root = gitRoot(realm.cwd);
  if (root === null || inEnv === undefined || inEnv === 'sudo') missing();
  const { keys } = read(root, missing) ?? missing();
  const wanted = keys.filter((key) => inEnv === 'all' || key.env === inEnv);
  if (wanted.length === 0) missing();
  return wanted;
}

/** The manifest as the addon tells it, `null` where there is none. A grade, whose words only the addon judges, makes it give up. */
function manifestOf(gitroot, missing) {
  const root = gitRoot(gitroot);
  const found = root === null ? null : read(root, missing);
  if (found === null) return null;
  if (found.keys.some((key) => key.grade !== undefined)) missing();
  const keys = found.keys.map(({ slug, env, name, optionalIfHas }) => ({ slug, mech: null, env, name, grade: null, flags: { isOptionalIfHas: optionalIfHas ?? null } }));
  return { uri: path.join(root, MANIFEST), org: found.org, envs: found.envs, ...(found.extends.length > 0 ? { extends: found.extends } : {}), keys };
}

module.exports = { declared, gitRoot, manifestOf, parse };
