'use strict';
// Which values of the environment are not handed out where there is no addon to judge them: the same rules, for the one mechanism that
// such a value can have. A test holds the two to each other.

const LONG_LIVED = [
  ['ghp_', 'a github classic personal access token (ghp_*)'],
  ['gho_', 'a github oauth token (gho_*)'],
  ['ghu_', 'a github user-to-server token (ghu_*)'],
  ['ghr_', 'a github refresh token (ghr_*)'],
  ['github_pat_', 'a github fine-grained personal access token (github_pat_*)'],
  ['AKIA', 'an aws long-lived access key (AKIA*)'],
  ['glpat-', 'a gitlab personal access token (glpat-*)'],
  ['xoxb-', 'a slack bot token (xoxb-*)'],
  ['xoxp-', 'a slack user token (xoxp-*)'],
  ['sk_live_', 'a stripe live secret key (sk_live_*)'],
];

// White space of either language, and what is not seen: a token pasted with it is still that token.
const UNSEEN = /^[\s\x85\p{Cf}\p{Default_Ignorable_Code_Point}]+/u;

/** The reasons against handing out a value of the variable `name`; none when it may be. */
function reasons(name, value, dangerous) {
  const text = value.replace(UNSEEN, '');
  // JSON or nearly JSON that names a mechanism is what keys are made from, never a key.
  if (text.startsWith('{') && /"mech"\s*:/.test(text.replace(/\\u00([0-7][0-9a-f])/gi, (_, code) => String.fromCharCode(parseInt(code, 16))))) {
    return [`the variable ${name} holds what a mechanism makes keys from, which is never handed out raw`];
  }
  if (dangerous) return [];
  if (text === '') return ['there is no value to check'];
  const [, what] = LONG_LIVED.find(([prefix]) => text.startsWith(prefix)) ?? [];
  return what === undefined ? [] : ['a long-lived token is dangerous to hand out as it is', `detected ${what}`];
}

module.exports = { LONG_LIVED, reasons };
