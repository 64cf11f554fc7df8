module.exports = { testMatch: ['<rootDir>/test/*.test.cjs'], setupFiles: ['<rootDir>/dist/jest.integration.env.js'], modulePathIgnorePatterns: ['<rootDir>/node_modules'] };
