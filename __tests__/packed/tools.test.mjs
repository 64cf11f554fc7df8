// The installed package in the tools people build and test with: compilers, test runners and
// bundlers, each as its own documentation starts it.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cpSync, realpathSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { makeConsumer } from './consumer.mjs';
import { nodeFileTrace } from '@vercel/nft';

describe.each(['npm', 'pnpm', 'yarn'])('installed by %s', (manager) => {
  let consumer;
  let tool;
  beforeAll(async () => {
    consumer = makeConsumer(manager);
    await consumer.install();
    await consumer.unlockKey('s3cret');
    await consumer.tools('vitest', 'jest', 'typescript', 'esbuild', 'vite');
    tool = consumer.tool;
  });
  afterAll(() => consumer?.end());

  const ok = async (done) => {
    const { status, stdout, stderr } = await done;
    expect([status, status === 0 ? '' : stdout + stderr]).toStrictEqual([0, '']);
  };

  describe('TypeScript, without the types of Node', () => {
    const program = `
      import keyrack, { getSync, source, KeyrackError, type KeyrackErrorCode } from 'keyrack';
      import { binaryPath } from 'keyrack/bin';
      const { attempt } = getSync({ for: { key: 'TOKEN' }, env: 'test' });
      if (attempt.status === 'granted') attempt.grant.key.secret satisfies string;
      const names: string[] = source({ env: 'test' }).sourced;
      const code: KeyrackErrorCode = new KeyrackError({ code: 'io', message: binaryPath() }).code;
      keyrack.status();
      export { code, names };
      // @ts-expect-error the env is needed
      source({});`;
    const compile = (options, files) => {
      consumer.write('tsconfig.json', JSON.stringify({ compilerOptions: { strict: true, noEmit: true, skipLibCheck: false, types: [], target: 'es2022', lib: ['es2022'], ...options }, files }));
      return ok(tool('typescript', 'bin/tsc', '-p', '.'));
    };

    it('node16, from an ES module and from CommonJS', () => {
      consumer.write('program.mts', program);
      consumer.write('program.cts', program);
      consumer.write('required.cts', "import keyrack = require('keyrack');\nkeyrack.source({ env: 'test' }).kept satisfies string[];\nkeyrack.keyrack.get satisfies typeof keyrack.get;\n");
      return compile({ module: 'node16', moduleResolution: 'node16' }, ['program.mts', 'program.cts', 'required.cts']);
    });

    it('bundler', () => {
      consumer.write('program.ts', program);
      return compile({ module: 'esnext', moduleResolution: 'bundler' }, ['program.ts']);
    });
  });

  it('vitest', () => {
    consumer.write('vitest.config.mjs', "export default { test: { setupFiles: ['./keyrack.setup.mjs'] } };");
    consumer.write('keyrack.setup.mjs', "import { source } from 'keyrack';\nsource({ env: 'test' });\n");
    consumer.write('token.test.mjs', "import { expect, it } from 'vitest';\nimport { getSync } from 'keyrack';\nit('is there', () => {\n  expect(process.env.TOKEN).toBe('s3cret');\n  expect(getSync({ for: { key: 'TOKEN' }, env: 'test' }).attempt.status).toBe('granted');\n});\n");
    return ok(tool('vitest', 'vitest.mjs', 'run'));
  });

  it('jest', () => {
    consumer.write('jest.config.cjs', "module.exports = { setupFiles: ['<rootDir>/keyrack.setup.cjs'], testMatch: ['<rootDir>/jest/*.test.cjs'] };");
    consumer.write('keyrack.setup.cjs', "require('keyrack').source({ env: 'test' });\n");
    consumer.write('jest/token.test.cjs', "const { getSync } = require('keyrack');\ntest('is there', () => {\n  expect(process.env.TOKEN).toBe('s3cret');\n  expect(getSync({ for: { key: 'TOKEN' }, env: 'test' }).attempt.grant.key.secret).toBe('s3cret');\n});\n");
    return ok(tool('jest', 'bin/jest.js'));
  });

  describe('bundlers, with keyrack left where it is', () => {
    const app = "import { getSync } from 'keyrack';\nconsole.log(getSync({ for: { key: 'TOKEN' }, env: 'test' }).attempt.grant.key.secret);\n";
    const runs = async (file) => expect(await consumer.run([...consumer.words.node, file])).toMatchObject({ status: 0, stdout: 's3cret\n' });

    it.each([['esm', 'mjs'], ['cjs', 'cjs']])('esbuild, to %s', async (format, extension) => {
      consumer.write('app.mjs', app);
      consumer.write('build.cjs', `require('esbuild').buildSync({ entryPoints: ['app.mjs'], bundle: true, platform: 'node', external: ['keyrack'], format: '${format}', outfile: 'out/app.${extension}' });`);
      await ok(consumer.run([...consumer.words.node, 'build.cjs'], { timeout: 60_000 }));
      await runs(`out/app.${extension}`);
    });

    it('vite, for the server', async () => {
      consumer.write('app.mjs', app);
      consumer.write('vite.config.mjs', "export default { build: { ssr: 'app.mjs' }, ssr: { external: ['keyrack'] } };");
      await ok(tool('vite', 'bin/vite.js', 'build'));
      await runs('dist/app.mjs').catch(() => runs('dist/app.js'));
    });
  });

  // Yarn's zip files are nothing that nft knows.
  it.skipIf(manager === 'yarn')('nft, by which Next.js and Vercel copy what a server needs', async () => {
    consumer.write('traced.mjs', "import { getSync } from 'keyrack';\nconsole.log(getSync({ for: { key: 'TOKEN' }, env: 'test' }).attempt.grant.key.secret);\n");
    const base = realpathSync(consumer.directory);
    const { fileList } = await nodeFileTrace([join(base, 'traced.mjs')], { base });
    // Below the repository, and with no node_modules above that could be used instead.
    const standalone = join(base, 'standalone');
    for (const file of fileList) cpSync(join(base, file), join(standalone, file), { recursive: true, verbatimSymlinks: true });
    renameSync(join(base, 'node_modules'), join(base, 'node_modules.away'));
    try {
      expect(await consumer.run([process.execPath, join(standalone, 'traced.mjs')])).toMatchObject({ status: 0, stdout: 's3cret\n', stderr: '' });
      const binary = "console.log(require('keyrack/bin').binaryPath('keyrackd'))";
      expect(await consumer.run([process.execPath, '-e', binary], { cwd: standalone })).toMatchObject({ status: 0, stdout: expect.stringMatching(/standalone.*bin\/keyrackd\n$/) });
    } finally {
      renameSync(join(base, 'node_modules.away'), join(base, 'node_modules'));
    }
  });
});
