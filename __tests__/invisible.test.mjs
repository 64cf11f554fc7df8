// The characters that lib/format.js removes are those of keyrack_core::display.

import { expect, it } from 'vitest';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const { formatKeyrackKeyBranch } = createRequire(import.meta.url)('../lib/format.js');

it('the tree removes the same characters as the command', () => {
  const source = readFileSync(new URL('../crates/keyrack-core/src/display.rs', import.meta.url), 'utf8');
  const [, table] = /matches!\(c,([^)]*)\)/.exec(source);
  const invisible = new Set();
  for (const [, first, last = first] of table.matchAll(/'\\u\{(\w+)\}'(?:\.\.='\\u\{(\w+)\}')?/g)) {
    for (let code = parseInt(first, 16); code <= parseInt(last, 16); code += 1) invisible.add(code);
  }
  expect(invisible.size).toBeGreaterThan(4000);
  const codes = Array.from({ length: 0x110000 }, (_, code) => code).filter((code) => (code >= 0x20 && code < 0x7f) || (code >= 0xa0 && (code < 0xd800 || code > 0xdfff)));
  const text = (wanted) => wanted.map((code) => String.fromCodePoint(code)).join('');
  const [line] = formatKeyrackKeyBranch({ entry: { status: 'absent', slug: `<${text(codes)}>` } });
  // Compared as a boolean: a difference of a million characters would be slow to print.
  expect(line.includes(`<${text(codes.filter((code) => !invisible.has(code)))}>`)).toBe(true);
});
