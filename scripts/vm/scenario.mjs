// Scenario files: what their headers say, and which of them share a machine.

import { compareVersions } from './kernels.mjs';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

const MACHINE = { memory: 768, swap: 0, append: [], alone: false };

/**
 * Reads the comment at the top of a scenario: a sentence, then any of
 *
 *     # needs: linux 6.5                     the oldest kernel it runs on
 *     # machine: memory=512 swap=1024        MiB; `append=WORD` for the kernel's command line;
 *                                            `alone`: no other scenario in that machine
 *     # seconds: 240                         its time limit
 */
export function parseScenario(name, text) {
  const scenario = { name, description: '', linux: null, machine: { ...MACHINE, append: [] }, seconds: 180 };
  for (const line of text.split('\n')) {
    const comment = /^#(?: (.*))?$/.exec(line);
    if (!comment) break;
    const [, key, value] = /^([a-z]+): (.*)$/.exec(comment[1] ?? '') ?? [];
    if (!key) scenario.description = `${scenario.description} ${comment[1] ?? ''}`.trim();
    else parseKey(scenario, key, value.trim());
  }
  if (scenario.description === '') throw new Error(`scenario ${name}: no description in its first line`);
  return scenario;
}

function parseKey(scenario, key, value) {
  const invalid = () => new Error(`scenario ${scenario.name}: invalid header "${key}: ${value}"`);
  if (key === 'needs') {
    scenario.linux = /^linux ([0-9]+\.[0-9]+)$/.exec(value)?.[1];
    if (!scenario.linux) throw invalid();
  } else if (key === 'seconds') {
    if (!/^[1-9][0-9]{0,3}$/.test(value)) throw invalid();
    scenario.seconds = Number(value);
  } else if (key === 'machine') {
    for (const word of value.split(/\s+/)) {
      const [, name, number] = /^(memory|swap)=([1-9][0-9]{0,4})$/.exec(word) ?? [];
      if (name) scenario.machine[name] = Number(number);
      else if (word === 'alone') scenario.machine.alone = true;
      else if (/^append=\S+$/.test(word)) scenario.machine.append.push(word.slice('append='.length));
      else throw invalid();
    }
  } else {
    throw invalid();
  }
}

/**
 * Every scenario of a directory, by name; `kernel` and `session` first, as what the others build
 * on.
 */
export function readScenarios(directory) {
  const rank = ({ name }) => (name === 'kernel' ? 0 : name === 'session' ? 1 : 2);
  return readdirSync(directory)
    .filter((file) => file.endsWith('.sh'))
    .sort()
    .map((file) => parseScenario(file.slice(0, -'.sh'.length), readFileSync(join(directory, file), 'utf8')))
    .sort((a, b) => rank(a) - rank(b));
}

/** Returns why a scenario does not run on a kernel, or null. */
export function reasonNotRun({ linux }, version) {
  return linux && compareVersions(version, linux) < 0 ? `needs Linux ${linux}` : null;
}

/** Puts scenarios that ask for the same machine into one boot, in their order. */
export function groupByMachine(scenarios) {
  const groups = new Map();
  for (const scenario of scenarios) {
    const key = scenario.machine.alone ? scenario.name : JSON.stringify(scenario.machine);
    groups.set(key, [...(groups.get(key) ?? []), scenario]);
  }
  return [...groups.values()];
}
