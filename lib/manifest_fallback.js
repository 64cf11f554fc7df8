'use strict';
// The keys that a repository declares, if there is no addon to read its keyrack.yml. Reads the
// plain form that keyrack itself writes, and gives up at anything else rather than guess.

const fs = require('node:fs');
const path = require('node:path');
const { variable } = require('./call_context.js');

/** Returns the root of the git repository that a directory is in, `null` outside of one. */
function gitRoot(from) {
  for (let at = from; ; at = path.dirname(at)) {
    if (fs.existsSync(path.join(at, '.git'))) return at;
    if (at === path.dirname(at)) return null;
  }
}

const MANIFEST = path.join('.agent', 'keyrack.yml');

/** Envs that a section can have. A sudo key is never declared. */
const SECTIONS = ['prod', 'prep', 'test', 'all', 'camp'];

/**
 * Parses a word of plain YAML that can only be a string: quoted without an escape, or made of
 * characters without a meaning in YAML.
 */
function scalar(text) {
  const quoted = /^"([^"\\]*)"$|^'([^']*)'$/.exec(text);
  if (quoted) return quoted[1] ?? quoted[2];
  const isPlain = /^[A-Za-z_./][A-Za-z0-9_./=+@-]*$/.test(text) && !/^(null|true|false|\.(inf|nan|[0-9].*))$/i.test(text);
  return isPlain ? text : undefined;
}

/** Returns `true` for a valid org. */
const isOrg = (name) => /^[A-Za-z_][A-Za-z0-9_-]{0,127}$/.test(name);

/**
 * Returns `true` for a valid key name: letters, digits, `_`, `-` and single dots, at most 255
 * characters.
 */
const isName = (name) => name.length <= 255 && /^[A-Za-z_][A-Za-z0-9_.-]*$/.test(name) && !name.endsWith('.') && !name.includes('..');

/**
 * Returns `true` for a minimum grade that is made of words. Only the addon knows which words are
 * valid.
 */
const isGrade = (text) => /^[a-z]+( *, *[a-z]+)*$/.test(text) && (text.includes(',') || scalar(text) !== undefined);

/**
 * Parses one file: `{ org, extends, envs: { env: [{ name, grade?, optionalIfHas? }] } }`, `null` if
 * it has a form that is not read here.
 */
function parse(text) {
  const file = { org: null, extends: [], envs: new Map() };
  const seen = new Set();
  // Parents of the lines that follow: a list with the column of its items, and in it a record with
  // the column of its fields.
  let list = null;
  let record = null;
  for (const [index, whole] of text.split(/\r?\n/).entries()) {
    if (/^ *(#.*)?$/.test(whole) || (index === 0 && whole === '---')) continue;
    const line = whole.replace(/ +(#.*)?$/, '');
    const top = /^([A-Za-z][A-Za-z0-9._-]*):(?: +(\S.*))?$/.exec(line);
    if (top) {
      const [, name, value = ''] = top;
      list = null;
      record = null;
      if (seen.has(name)) return null;
      seen.add(name);
      const env = name.startsWith('env.') ? name.slice(4) : undefined;
      if (name === 'org' && isOrg(scalar(value) ?? '')) file.org = scalar(value);
      else if (name === 'extends' && value === '') list = { of: 'paths', items: file.extends };
      else if (SECTIONS.includes(env) && ['', '[]', '~', 'null'].includes(value)) {
        file.envs.set(env, []);
        if (value === '') list = { of: 'keys', items: file.envs.get(env) };
      } else return null;
      continue;
    }
    const [, indent, gap, content] = /^( *)-( +)(\S.*)$/.exec(line) ?? [];
    if (content !== undefined) {
      if (list === null || (list.column ?? indent.length) !== indent.length) return null;
      list.column = indent.length;
      const item = list.of === 'paths' ? scalar(content) : key(content);
      if (item === undefined) return null;
      list.items.push(list.of === 'paths' ? item : item.key);
      record = item.isRecord ? { key: item.key, column: indent.length + 1 + gap.length } : null;
      continue;
    }
    const [, before, field, value] = /^( +)(is-optional-if-has|grade): +(\S.*)$/.exec(line) ?? [];
    const member = field === 'grade' ? 'grade' : 'optionalIfHas';
    if (record === null || before?.length !== record.column || record.key[member] !== undefined) return null;
    const read = field === 'grade' ? (isGrade(value) ? value : undefined) : scalar(value);
    if (!read) return null;
    record.key[member] = read;
  }
  // env.all needs another section to apply to.
  if (file.org === null || (file.envs.size === 1 && file.envs.has('all'))) return null;
  return file;
}

/** Parses one entry of a section, in any of its three forms; `undefined` if it is not an entry. */
function key(text) {
  const [, first, colon, value] = /^("[^"\\]*"|'[^']*'|[^\s:"'][^\s:]*)(:(?: +(\S.*))?)?$/.exec(text) ?? [];
  const isRecord = colon !== undefined && scalar(first ?? '') === 'key';
  const name = scalar((isRecord ? value : first) ?? '');
  if (name === undefined || !isName(name)) return undefined;
  if (isRecord || value === undefined) return { key: { name }, isRecord };
  return isGrade(value) ? { key: { name, grade: value }, isRecord } : undefined;
}

/** Limits: number of files (one that is extended twice counts twice), and bytes of one file. */
const MAX_FILES = 64;
const LARGEST = 1 << 20;

/** Returns `true` if the owner of a file is accepted. The addon accepts more. */
function isAccepted({ uid }, rootOwner) {
  const user = process.geteuid();
  if (uid === user || uid === 0) return true;
  return user === 0 && uid === (variable('SUDO_UID') === undefined ? rootOwner : Number(variable('SUDO_UID')));
}

/** Reads a file whose owner is accepted; throws if there is none. */
function readAccepted(file, rootOwner) {
  const fd = fs.openSync(file, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
  try {
    const found = fs.fstatSync(fd);
    if (!found.isFile() || found.size > LARGEST || !isAccepted(found, rootOwner)) throw new Error('not read here');
    return fs.readFileSync(fd, 'utf8');
  } finally {
    fs.closeSync(fd);
  }
}

/**
 * Adds the keys that a file and those it extends declare, by env and name. Of two equal ones the
 * later wins, at the position of the first.
 */
function gather(repository, relative, keys, giveUp, chain) {
  const { root, owner } = repository;
  const at = path.join(root, relative);
  repository.files += 1;
  if (repository.files > MAX_FILES || chain.includes(at) || !(at + path.sep).startsWith(root + path.sep)) giveUp();
  let text;
  try {
    text = readAccepted(at, owner);
  } catch {
    giveUp();
  }
  const file = parse(text) ?? giveUp();
  for (const parent of file.extends) gather(repository, parent, keys, giveUp, [...chain, at]);
  const everywhere = file.envs.get('all') ?? [];
  const put = (env, key) => keys.set(`${env}.${key.name}`, { ...key, env });
  for (const key of everywhere) put('all', key);
  for (const [env, own] of file.envs) {
    if (env !== 'all') for (const key of [...everywhere, ...own]) put(env, key);
  }
  return file;
}

/**
 * Reads the manifest of a repository: `{ org, envs, extends, keys }`, `null` without a keyrack.yml.
 * `giveUp` throws.
 */
function read(root, giveUp) {
  if (!fs.existsSync(path.join(root, MANIFEST))) return null;
  const top = fs.statSync(root);
  if (!isAccepted(top, top.uid) || !isAccepted(fs.lstatSync(path.join(root, '.git')), top.uid)) giveUp();
  const keys = new Map();
  const file = gather({ root, owner: top.uid, files: 0 }, MANIFEST, keys, giveUp, []);
  const declared = [...keys.values()].map((key) => ({ ...key, org: file.org, slug: `${file.org}.${key.env}.${key.name}` }));
  return { org: file.org, envs: [...file.envs.keys()].filter((env) => env !== 'all'), extends: file.extends, keys: declared };
}

/**
 * Returns the keys declared for the requested env, in order; for `all` those of every env.
 * `missing` throws if they cannot be determined here.
 */
function declared({ env, context }, missing) {
  const root = gitRoot(context.cwd);
  if (root === null || env === undefined || env === 'sudo') missing();
  const { keys } = read(root, missing) ?? missing();
  const wanted = keys.filter((key) => env === 'all' || key.env === env);
  if (wanted.length === 0) missing();
  return wanted;
}

/**
 * Returns the manifest as the addon does, `null` if there is none. Gives up at a grade, because
 * only the addon validates its words.
 */
function manifestOf(gitroot, missing) {
  const root = gitRoot(gitroot);
  const found = root === null ? null : read(root, missing);
  if (found === null) return null;
  if (found.keys.some((key) => key.grade !== undefined)) missing();
  const keys = found.keys.map(({ slug, env, name, optionalIfHas }) => ({ slug, mech: null, env, name, grade: null, flags: { isOptionalIfHas: optionalIfHas ?? null } }));
  return { uri: path.join(root, MANIFEST), org: found.org, envs: found.envs, ...(found.extends.length > 0 ? { extends: found.extends } : {}), keys };
}

module.exports = { declared, gitRoot, manifestOf, parse };
