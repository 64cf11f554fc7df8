// Once for all tests of the packages: packs them, and publishes them on a registry of this machine;
// with them TypeScript, which Yarn has to fetch.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { capture, root } from '../../scripts/command.mjs';
import { host, PLATFORMS } from '../../scripts/platforms.mjs';
import { join } from 'node:path';
import { packAll } from '../../scripts/pack.mjs';
import { serveRegistry } from './registry.mjs';

export default async function setup({ provide }) {
  const directory = mkdtempSync('/tmp/kp-');
  const here = host().platform;
  const tarballs = packAll(directory, [here]);
  // The other platforms are on the registry as well, by their manifests: a package manager has to
  // see from those that they are not for this machine.
  const absent = PLATFORMS.filter(({ name }) => name !== here.name).map((each) => JSON.parse(readFileSync(join(each.directory, 'package.json'), 'utf8')));
  const [typescript] = JSON.parse(capture('npm', ['pack', '--json', '--ignore-scripts', '--loglevel=error', '--pack-destination', directory, join(root, 'node_modules', 'typescript')]));
  const registry = await serveRegistry({ tarballs: [...tarballs, join(directory, typescript.filename)], absent });
  provide('packed', { root: tarballs[0], platform: tarballs[1], name: here.name, registry: registry.url });
  return () => {
    registry.close();
    rmSync(directory, { recursive: true, force: true });
  };
}
