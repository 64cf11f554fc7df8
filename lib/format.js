'use strict';
// Trees of attempts, as commands print them, without the addon. Never show a secret.

/** Colors of each kind of text: the parameters of an SGR sequence (ECMA-48 §8.3.117). */
const TONES = { title: '1', key: '36', good: '32', warn: '33', bad: '31', quiet: '2' };

const STATUSES = { granted: ['🔑', 'good'], locked: ['🔒', 'warn'], absent: ['🫧', 'warn'], blocked: ['🚫', 'bad'] };
const OMISSIONS = { absent: ['🫧', 'warn'], lost: ['👻', 'warn'], remote: ['🌐', 'warn'], errored: ['💥', 'bad'] };

// Control and invisible characters: the table of keyrack_core::display, as Unicode properties.
const UNSAFE = /[\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}\u2028\u2029]/gu;
const clean = (text) => String(text).replace(/[\n\r\t]/g, ' ').replace(UNSAFE, '');

const paint = (tone, text, color) => (color && tone && text !== '' ? `\x1b[${TONES[tone]}m${text}\x1b[0m` : text);

const node = (text, tone, below = []) => ({ name: '', text: clean(text), tone, below });
const pair = (name, value, tone, below = []) => ({ name: `${name}:`, text: ` ${clean(value)}`, tone, below });
const tip = (command) => node(`tip: ${command}`, 'quiet');
const marked = (word, [emoji, tone], below) => pair('status', emoji ? `${word} ${emoji}` : word, tone, below);

/** Renders the lines of a branch and of everything below it. */
function lines({ name, text, tone, below }, indent, isLast, color) {
  const lead = indent + (isLast ? '└─ ' : '├─ ');
  const inner = indent + (isLast ? '   ' : '│  ');
  return [
    paint('quiet', lead, color) + paint('quiet', name, color) + paint(tone, text, color),
    ...below.flatMap((each, index) => lines(each, inner, index === below.length - 1, color)),
  ];
}

/**
 * Makes the branch of one key: of an attempt, of a key that `unlock` unlocked, or of one that it
 * left out.
 */
function branch(entry) {
  if (typeof entry !== 'object' || entry === null) throw new TypeError('entry must be an attempt, or a key of unlock');
  const { status, reason, grant, fix, note, waived, cause } = entry;
  const notes = note ? [pair('note', note, 'warn')] : [];
  // A key that may be absent needs no fix.
  const tips = fix && !waived ? [tip(fix)] : [];
  if (status !== undefined) {
    const look = Object.hasOwn(STATUSES, status) ? STATUSES[status] : ['', 'warn'];
    const from = grant ? [pair('vault', grant.source.vault), pair('mech', grant.source.mech)] : [];
    const below = (entry.reasons ?? []).map((each) => node(each));
    return node(grant?.slug ?? entry.slug, 'key', [...from, marked(status, look, below), ...notes, ...tips]);
  }
  if (reason !== undefined) {
    const look = Object.hasOwn(OMISSIONS, reason) ? OMISSIONS[reason] : ['', 'warn'];
    const why = cause ? [pair('cause', cause.message), ...(cause.hint ? [pair('hint', cause.hint)] : [])] : [];
    const way = fix ?? cause?.fix;
    return node(entry.slug, 'key', [marked(reason, look), ...why, ...(way ? [tip(way)] : [])]);
  }
  const ends = entry.expiresAt === undefined || entry.expiresAt === null ? 'never' : minutes(Date.parse(entry.expiresAt) - Date.now());
  return node(entry.slug, 'key', [pair('env', entry.env), pair('org', entry.org), pair('vault', entry.source?.vault ?? entry.vault), pair('expires in', ends, 'good'), ...notes]);
}

/** Formats a time to live in minutes; below a minute, in seconds. */
function minutes(ms) {
  const left = Math.max(0, ms);
  return left < 60_000 ? `${Math.ceil(left / 1000)}s` : `${Math.floor((left + 30_000) / 60_000)}m`;
}

function tree(nodes, color) {
  const drawn = nodes.length > 0 ? nodes : [node('(no keys)')];
  const body = drawn.flatMap((each, index) => lines(each, '   ', index === drawn.length - 1, color));
  return ['', paint('title', '🔐 keyrack', color), ...body, '', ''].join('\n');
}

function formatKeyrackKeyBranch({ entry, isLast = false, color = false }) {
  return lines(branch(entry), '   ', isLast, color);
}

function formatKeyrackGetOneOutput({ attempt, color = false }) {
  return tree([branch(attempt)], color);
}

function formatKeyrackGetAllOutput({ attempts, color = false }) {
  return tree(attempts.map(branch), color);
}

/** Renders the report of a strict `source` that failed, with a hint. */
function strictFailure(attempts) {
  return `${tree(attempts.map(branch), false)}✋ some keys were not granted, yet are strictly required\n   └─ ask a human to set or unlock them, then try again\n\nhint: mode: 'lenient' leaves out keys that are not granted\n`;
}

module.exports = { formatKeyrackGetAllOutput, formatKeyrackGetOneOutput, formatKeyrackKeyBranch, strictFailure };
