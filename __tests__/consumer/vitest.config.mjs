export default { test: { globals: true, include: ['test/*.test.cjs'], setupFiles: ['./dist/jest.integration.env.js'] } };
