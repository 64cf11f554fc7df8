'use strict';
// The token check for values of the environment, if there is no addon: the same rules, for the one
// mechanism that such a value can have. A test compares the two.

const ANY = Infinity;
const UPPER = /^[A-Z0-9]*$/;
const ALNUM = /^[A-Za-z0-9]*$/;
const WORD = /^[\w-]*$/;
/** At the beginning of a value the prefix alone counts. */
const ALONE = true;
const SHAPED = false;

/**
 * Long-lived tokens: prefix, least and greatest length of what follows it, its characters, whether
 * the prefix is enough, and what it is.
 */
const LONG_LIVED = [
  ['ghp_', 8, ANY, ALNUM, ALONE, 'a github classic personal access token (ghp_*)'],
  ['gho_', 8, ANY, ALNUM, ALONE, 'a github oauth token (gho_*)'],
  ['ghu_', 8, ANY, ALNUM, ALONE, 'a github user-to-server token (ghu_*)'],
  ['ghr_', 8, ANY, ALNUM, ALONE, 'a github refresh token (ghr_*)'],
  ['github_pat_', 8, ANY, WORD, ALONE, 'a github fine-grained personal access token (github_pat_*)'],
  ['AKIA', 16, 16, UPPER, ALONE, 'an aws long-lived access key (AKIA*)'],
  ['glpat-', 8, ANY, WORD, ALONE, 'a gitlab personal access token (glpat-*)'],
  ['xoxb-', 8, ANY, WORD, ALONE, 'a slack bot token (xoxb-*)'],
  ['xoxp-', 8, ANY, WORD, ALONE, 'a slack user token (xoxp-*)'],
  ['sk_live_', 8, ANY, ALNUM, ALONE, 'a stripe live secret key (sk_live_*)'],
  ['rk_live_', 8, ANY, ALNUM, ALONE, 'a stripe live restricted key (rk_live_*)'],
  ['sk-ant-', 8, ANY, WORD, ALONE, 'an anthropic api key (sk-ant-*)'],
  ['sk-proj-', 8, ANY, WORD, ALONE, 'an openai project key (sk-proj-*)'],
  ['sk-svcacct-', 8, ANY, WORD, ALONE, 'an openai service account key (sk-svcacct-*)'],
  ['sk-or-v1-', 8, ANY, WORD, ALONE, 'an openrouter api key (sk-or-v1-*)'],
  ['sk-admin-', 20, ANY, WORD, SHAPED, 'an openai admin key (sk-admin-*)'],
  ['npm_', 16, ANY, ALNUM, SHAPED, 'an npm access token (npm_*)'],
  ['gldt-', 16, ANY, WORD, SHAPED, 'a gitlab deploy token (gldt-*)'],
  ['glptt-', 16, ANY, WORD, SHAPED, 'a gitlab pipeline trigger token (glptt-*)'],
  ['glrt-', 16, ANY, WORD, SHAPED, 'a gitlab runner token (glrt-*)'],
  ['xapp-', 16, ANY, WORD, SHAPED, 'a slack app token (xapp-*)'],
  ['hf_', 30, ANY, ALNUM, SHAPED, 'a hugging face access token (hf_*)'],
  ['pypi-AgE', 50, ANY, WORD, SHAPED, 'a pypi upload token (pypi-*)'],
  ['dckr_pat_', 20, ANY, WORD, SHAPED, 'a docker hub access token (dckr_pat_*)'],
  ['dop_v1_', 40, ANY, ALNUM, SHAPED, 'a digitalocean access token (dop_v1_*)'],
  ['shpat_', 32, ANY, ALNUM, SHAPED, 'a shopify access token (shpat_*)'],
  ['rubygems_', 40, ANY, ALNUM, SHAPED, 'a rubygems api key (rubygems_*)'],
  ['ATATT3', 40, ANY, WORD, SHAPED, 'an atlassian api token (ATATT3*)'],
];

// White space of either language, and what is not seen: a token pasted with it is still that token.
const UNSEEN = /^[\s\x85\p{Cf}\p{Default_Ignorable_Code_Point}]+/u;

/** Number of nested encodings that are undone. */
const LAYERS = 4;

const ESCAPE = /\\u([0-9A-Fa-f]{4})|\\([bfnrt])|\\(["'\\/])|%([0-9A-Fa-f]{2})/g;

/** A run of Base64 in either alphabet, over the ends of the lines it is wrapped into. */
const BASE64 = /(?:(?:[A-Za-z0-9+/_-]{4}){12,}[ \t\n\r\f]+(?=[A-Za-z0-9+/_-]))*[A-Za-z0-9+/_-]+/g;

/** Returns the kind of token that a word is. */
function token(word) {
  return LONG_LIVED.find(([prefix, least, most, alphabet]) => {
    const length = word.length - prefix.length;
    return word.startsWith(prefix) && length >= least && length <= most && alphabet.test(word.slice(prefix.length, prefix.length + least));
  });
}

function unescaped(text) {
  return text.replace(ESCAPE, (_, unit, blank, mark, byte) => {
    if (unit !== undefined) return unit.startsWith('00') ? String.fromCharCode(parseInt(unit, 16)) : '\xff';
    return blank !== undefined ? ' ' : (mark ?? String.fromCharCode(parseInt(byte, 16)));
  });
}

function look(text, layers) {
  for (const [word] of text.matchAll(/[\w-]+/g)) {
    const kind = token(word);
    if (kind !== undefined) return kind;
  }
  if (layers === 0) return undefined;
  const plain = unescaped(text);
  const found = plain === text ? undefined : look(plain, layers - 1);
  if (found !== undefined) return found;
  for (const [run] of text.matchAll(BASE64)) {
    const kind = run.length < 16 ? undefined : look(Buffer.from(run, 'base64').toString('latin1'), layers - 1);
    if (kind !== undefined) return kind;
  }
  return undefined;
}

/** Returns a description of the long-lived token in a text; `undefined` if there is none. */
function longLived(text) {
  const alone = LONG_LIVED.find(([prefix, , , , isEnough]) => isEnough && text.startsWith(prefix));
  const found = alone ?? look(text, LAYERS);
  return found && `${found[5]}${text.startsWith(found[0]) ? '' : ' inside the value'}`;
}

/**
 * Returns the reasons that forbid handing out a value of the variable `name`; none if it is
 * allowed.
 */
function reasons(name, value, dangerous) {
  const text = value.replace(UNSEEN, '');
  // JSON or nearly JSON that names a mechanism is what keys are made from, never a key.
  if (text.startsWith('{') && /"mech"\s*:/.test(text.replace(/\\u00([0-7][0-9a-f])/gi, (_, code) => String.fromCharCode(parseInt(code, 16))))) {
    return [`the variable ${name} holds the input of a mechanism, which keyrack never returns as a key`];
  }
  if (dangerous) return [];
  if (text === '') return ['there is no value to check'];
  const what = longLived(text);
  return what === undefined ? [] : ['a long-lived token is dangerous to hand out as it is', `detected ${what}`];
}

module.exports = { LONG_LIVED, reasons };
