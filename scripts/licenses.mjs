// The notices of everything that is linked into what a platform package ships: their licenses ask
// for them to go along.

import { capture } from './command.mjs';
import { dirname, join } from 'node:path';
import { readFileSync, readdirSync } from 'node:fs';

/** What is linked into the binaries and the addon. */
const ROOTS = ['keyrack-cli', 'keyrackd', 'keyrack-node'];

/**
 * Licenses that ask for no more than their notice. An expression is accepted when one of its
 * alternatives is made of these alone.
 */
const ACCEPTED = new Set(['0BSD', 'Apache-2.0', 'Apache-2.0 WITH LLVM-exception', 'BSD-2-Clause', 'BSD-3-Clause', 'ISC', 'MIT', 'MIT-0', 'Unicode-3.0', 'Unlicense', 'Zlib', 'CC0-1.0']);

const choices = (expression) => expression.replaceAll(/[()]/g, '').split(/ OR |\//).map((choice) => choice.split(' AND ').map((each) => each.trim()));
const isAccepted = (expression) => choices(expression).some((choice) => choice.every((each) => ACCEPTED.has(each)));
/** Where there is a choice of MIT it is made, and the other texts need not go along. */
const isMit = (expression) => choices(expression).some((choice) => choice.join() === 'MIT');

/** The crates linked for a Rust triple, those of other people only, in order of their names. */
function linked(triple) {
  const { packages, resolve } = JSON.parse(capture('cargo', ['metadata', '--locked', '--format-version', '1', '--filter-platform', triple]));
  const byId = new Map(packages.map((each) => [each.id, each]));
  const nodes = new Map(resolve.nodes.map((each) => [each.id, each]));
  const left = packages.filter(({ name, source }) => source === null && ROOTS.includes(name)).map(({ id }) => id);
  const seen = new Set();
  while (left.length > 0) {
    const id = left.pop();
    // What runs in the compiler is not in what it makes.
    if (seen.has(id) || byId.get(id).targets.some(({ kind }) => kind.includes('proc-macro'))) continue;
    seen.add(id);
    left.push(...nodes.get(id).deps.filter(({ dep_kinds: kinds }) => kinds.some(({ kind }) => kind === null)).map(({ pkg }) => pkg));
  }
  return [...seen]
    .map((id) => byId.get(id))
    .filter(({ source }) => source !== null)
    .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.version < b.version ? -1 : 1));
}

/**
 * The text that goes along with what was built for the given triples. Fails for a crate whose
 * license is not among those accepted.
 */
export function notices(triples) {
  const crates = new Map(triples.flatMap(linked).map((each) => [each.id, each]));
  const texts = new Map();
  const lines = [];
  for (const { name, version, license, manifest_path: manifest, authors } of crates.values()) {
    if (!license || !isAccepted(license)) throw new Error(`${name} ${version} is under ${license ?? 'a license it does not name'}, which is not among those accepted`);
    const directory = dirname(manifest);
    const all = readdirSync(directory, { withFileTypes: true }).filter((entry) => entry.isFile() && /^(licen[cs]e|copying|copyright|notice|unlicense)/i.test(entry.name));
    const mit = isMit(license) ? all.filter((entry) => !/apache|unlicense|zlib|boost|bsd/i.test(entry.name)) : all;
    const files = mit.length > 0 ? mit : all;
    const numbers = files.map((entry) => {
      const text = readFileSync(join(directory, entry.name), 'utf8').replaceAll('\r', '').replaceAll(/[ \t]+$/gm, '').trim();
      if (!texts.has(text)) texts.set(text, texts.size + 1);
      return texts.get(text);
    });
    const by = numbers.length > 0 ? `[${[...new Set(numbers)].sort((a, b) => a - b).join(', ')}]` : `by ${authors.map((author) => author.replace(/ *<.*>/, '')).join(', ') || 'its authors'}`;
    lines.push(`${name} ${version}, ${license}, ${by}`);
  }
  const rule = '-'.repeat(80);
  return [
    'The files of this package contain, besides keyrack itself, the Rust standard library (MIT OR Apache-2.0, the Rust Project), musl',
    '(MIT, Copyright 2005-2020 Rich Felker, et al.) where they are static, and the following. Numbers in brackets are those of the texts below.',
    '',
    ...lines,
    ...[...texts].flatMap(([text, number]) => ['', rule, `[${number}]`, '', text]),
    '',
  ].join('\n');
}
