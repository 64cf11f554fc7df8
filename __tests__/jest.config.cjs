'use strict';

// A smoke test of the one test runner most callers use: its realm, its process.env, and its clean
// end.
module.exports = { rootDir: '..', testMatch: ['<rootDir>/__tests__/jest/*.test.cjs'], testEnvironment: 'node', openHandlesTimeout: 1000 };
