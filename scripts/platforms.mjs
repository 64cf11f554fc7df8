// The platforms keyrack ships for, and what each is built from. The manifests in npm/<platform>/
// are kept by hand; a test holds them to this table.

import { capture, root } from './command.mjs';
import { join } from 'node:path';

/**
 * The oldest glibc the addon may need: the one that Node's own builds for Linux ask for
 * (BUILDING.md of Node 20 and later).
 */
export const GLIBC_FLOOR = '2.28';

/**
 * Rust's word for what npm calls x64 and arm64, and Debian's compiler that links for it from
 * another architecture.
 */
const ARCHITECTURES = {
  x64: { cpu: 'x86_64', cross: 'x86_64-linux-gnu-gcc' },
  arm64: { cpu: 'aarch64', cross: 'aarch64-linux-gnu-gcc' },
};

/** Every platform: its npm package is `@keyrack/<name>`, its directory `npm/<name>`. */
export const PLATFORMS = Object.entries(ARCHITECTURES).flatMap(([arch, { cpu, cross }]) =>
  ['gnu', 'musl'].map((libc) => ({
    name: `linux-${arch}-${libc}`,
    libc,
    cross,
    directory: join(root, 'npm', `linux-${arch}-${libc}`),
    addon: `${cpu}-unknown-linux-${libc}`,
    binaries: `${cpu}-unknown-linux-musl`,
    hosted: `${cpu}-unknown-linux-gnu`,
  })),
);

/** What a platform package holds beside its manifest and README: name → mode. */
export const SHIPPED = { 'bin/keyrack': 0o755, 'bin/keyrackd': 0o755, 'keyrack.node': 0o644 };

/** The platform of a name. */
export function platform(name) {
  const found = PLATFORMS.find((each) => each.name === name);
  if (!found) throw new Error(`no platform ${name}; there are ${PLATFORMS.map((each) => each.name).join(', ')}`);
  return found;
}

/** The platform of this machine: Rust's word for it, and ours. */
export function host() {
  const triple = capture('rustc', ['-vV']).match(/^host: (.*)$/m)?.[1] ?? '';
  const found = PLATFORMS.find((each) => each.libc === 'gnu' && each.hosted === triple);
  if (!found) throw new Error(`keyrack is built on Linux with glibc on x86_64 or aarch64; this Rust is ${triple || 'unknown'}`);
  return { triple, platform: found };
}
