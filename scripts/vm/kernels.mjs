// The kernels that `npm run test:vm` boots, oldest first, and where apt finds each.

const DEBIAN = { mirror: 'http://deb.debian.org/debian', component: 'main', keyring: '/usr/share/keyrings/debian-archive-keyring.gpg' };

/**
 * `package` is the meta package that depends on the current kernel of its suite. `keyringFrom` is a
 * suite of Debian and its package with the keyring, for an archive whose keys Debian does not
 * install beside its own.
 */
export const KERNELS = [
  { name: '5.10', ...DEBIAN, suite: 'bullseye', package: 'linux-image-amd64' },
  {
    name: '5.15',
    mirror: 'http://archive.ubuntu.com/ubuntu',
    component: 'main',
    suite: 'jammy-updates',
    package: 'linux-image-generic',
    keyring: '/usr/share/keyrings/ubuntu-archive-keyring.gpg',
    keyringFrom: { ...DEBIAN, suite: 'trixie', package: 'ubuntu-keyring' },
  },
  { name: '6.1', ...DEBIAN, suite: 'bookworm', package: 'linux-image-amd64' },
  { name: '6.12', ...DEBIAN, suite: 'trixie', package: 'linux-image-amd64' },
  { name: 'newest', ...DEBIAN, suite: 'trixie-backports', package: 'linux-image-amd64' },
];

/** Returns the kernel of that name. Throws when there is none. */
export function kernelNamed(name) {
  const kernel = KERNELS.find((each) => each.name === name);
  if (!kernel) throw new Error(`unknown kernel "${name}": use ${KERNELS.map((each) => each.name).join(', ')}`);
  return kernel;
}

/**
 * Orders two versions such as "6.1.0-50-amd64" by their first two numbers; negative when `a` is
 * older.
 */
export function compareVersions(a, b) {
  const [left, right] = [a, b].map((version) => version.split(/[^0-9]/, 2).map(Number));
  return left[0] - right[0] || left[1] - right[1];
}
