import { defineConfig } from 'vitest/config';

const root = new URL('..', import.meta.url).pathname;
const common = { root, environment: 'node', testTimeout: 20_000, hookTimeout: 20_000 };

// Everything in forks; what a realm can get wrong, in threads and in vm contexts as well.
export default defineConfig({
  test: {
    projects: [
      { test: { ...common, name: 'forks', pool: 'forks', include: ['__tests__/*.test.mjs'] } },
      { test: { ...common, name: 'threads', pool: 'threads', include: ['__tests__/realm.test.mjs'] } },
      // What would be published, packed once and installed from a registry of this machine.
      { test: { ...common, testTimeout: 60_000, hookTimeout: 120_000, name: 'packed', pool: 'forks', include: ['__tests__/packed/*.test.mjs'], globalSetup: ['__tests__/packed/global.mjs'] } },
      { test: { ...common, name: 'vmThreads', pool: 'vmThreads', include: ['__tests__/realm.test.mjs'] } },
    ],
  },
});
