// The types as projects of every kind compile them, the names that `keyrack types` declares, and
// `using`.

import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { createRequire } from 'node:module';
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import ts from 'typescript';
import vm from 'node:vm';

const require = createRequire(import.meta.url);
const { bin, makeHome, root, run, runNode } = require('./helpers/home.cjs');

const here = join(root, '__tests__', 'types');
const STRICT = { strict: true, noEmit: true, target: ts.ScriptTarget.ES2022, skipLibCheck: false, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, types: [] };
const NODE16 = { module: ts.ModuleKind.Node16, moduleResolution: ts.ModuleResolutionKind.Node16 };
const BUNDLER = { module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler };
const ES2022 = ['lib.es2022.d.ts'];
const DISPOSABLE = [...ES2022, 'lib.esnext.disposable.d.ts'];

// A compiler is slow on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

let home;
beforeAll(async () => {
  home = makeHome();
  home.manifest('org: acme\nenv.test:\n  - API_KEY\n  - DB_PASSWORD\n  - LOG-1\nenv.prod:\n  - DB_PASSWORD\n');
  mkdirSync(join(home.repo, 'node_modules'));
  symlinkSync(root, join(home.repo, 'node_modules', 'keyrack'));
});
afterAll(() => home?.remove());

/** Parsed once: what lies outside of the project, the library above all. */
const parsed = new Map();

function compilerHost(options) {
  const compiler = ts.createCompilerHost(options);
  const { getSourceFile } = compiler;
  compiler.getSourceFile = (name, version, ...rest) => {
    if (name.startsWith(home.repo)) return getSourceFile(name, version, ...rest);
    const key = JSON.stringify([name, version]);
    if (!parsed.has(key)) parsed.set(key, getSourceFile(name, version, ...rest));
    return parsed.get(key);
  };
  return compiler;
}

/** Puts files into the project and compiles them; the messages of what does not compile. */
function compile(files, options) {
  const names = Object.entries(files).map(([name, text]) => {
    const file = join(home.repo, name);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
    return file;
  });
  const program = ts.createProgram(names, { ...STRICT, ...options }, compilerHost({ ...STRICT, ...options }));
  const said = ts.getPreEmitDiagnostics(program).map((each) => `${each.file?.fileName.replace(`${home.repo}/`, '') ?? ''}: ${ts.flattenDiagnosticMessageText(each.messageText, '\n')}`);
  return { program, said };
}

const PLAIN = `
import { ErasableSecret, KeyrackError, get, getSync, set, source, status, unlock } from 'keyrack';
import { binaryPath } from 'keyrack/bin';
export async function all(key: string, env: string | undefined, owner: string | null | undefined, unlocks: boolean | undefined): Promise<string> {
  source({ env: 'test', owner, mode: 'strict', key: undefined, onFail: undefined });
  const { attempt } = await get({ for: { key }, env, owner, org: undefined, with: { unlock: unlocks }, allow: { dangerous: undefined }, as: undefined, prompt: undefined, signal: undefined });
  await set({ slug: 'acme.test.K', vault: 'os.secure', mech: 'PERMANENT_VIA_REPLICA', exid: null, owner: null, prikey: undefined });
  await unlock({ env, key, duration: undefined, timeoutMs: undefined });
  const buffer = getSync({ for: { key }, as: 'buffer' });
  if (buffer.attempt.status === 'granted') buffer.attempt.grant.key.secret satisfies ErasableSecret;
  if (new KeyrackError({ code: 'io', message: 'm', fix: undefined }).code === 'locked') return binaryPath();
  status({ env });
  return attempt.status === 'granted' ? attempt.grant.key.secret : (attempt.fix ?? '');
}
`;

describe('a project with none but the types of ES2022', () => {
  it.each([
    ['ESM, node16', { 'p/a.mts': PLAIN }, NODE16],
    ['CommonJS, node16', { 'p/a.cts': PLAIN }, NODE16],
    ['CommonJS by default import', { 'p/b.cts': "import keyrack from 'keyrack';\nkeyrack.source({ env: 'test' });\n" }, { ...NODE16, esModuleInterop: true }],
    ['a bundler', { 'p/a.ts': PLAIN }, { ...BUNDLER, verbatimModuleSyntax: true }],
    ['the resolution of old', { 'p/c.ts': "import { keyrack } from 'keyrack';\nkeyrack.source({ env: 'test' });\n" }, { module: ts.ModuleKind.CommonJS, moduleResolution: ts.ModuleResolutionKind.Node10 }],
  ])('%s', (_, files, options) => {
    expect(compile(files, { ...options, lib: ES2022 }).said).toStrictEqual([]);
  });

  it('gets no global declarations', () => {
    const { said } = compile({ 'p/g.mts': "import 'keyrack';\nexport const a: Disposable | undefined = undefined;\nexport const b = Symbol.dispose;\n" }, { ...NODE16, lib: ES2022 });
    expect(said.map((line) => line.split(':')[0])).toStrictEqual(['p/g.mts', 'p/g.mts']);
    expect(said.join()).toMatch(/Disposable.*Property 'dispose' does not exist/s);
  });

  it('has Symbol.dispose only if its lib declares it', () => {
    const text = "import type { ErasableSecret } from 'keyrack';\nexport function f(secret: ErasableSecret): void {\n  using held = secret;\n  held.erase();\n  secret[Symbol.dispose]();\n}\n";
    for (const options of [NODE16, BUNDLER]) {
      expect(compile({ 'p/u.mts': text }, { ...options, lib: DISPOSABLE }).said).toStrictEqual([]);
    }
    expect(compile({ 'p/u.mts': text }, { ...NODE16, lib: ES2022, typeRoots: [join(root, 'node_modules/@types')], types: ['node'] }).said).toStrictEqual([]);
    expect(compile({ 'p/v.mts': "import type { ErasableSecret } from 'keyrack';\nexport const erase = (secret: ErasableSecret): void => secret.erase();\n" }, { ...NODE16, lib: ES2022 }).said).toStrictEqual([]);
  });

  it('documents every function with an example and its errors', () => {
    const program = ts.createProgram([join(root, 'index.d.ts')], { ...STRICT, lib: ES2022 });
    const checker = program.getTypeChecker();
    const exported = checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(join(root, 'index.d.ts'))));
    const functions = exported.filter((each) => each.flags & ts.SymbolFlags.Function);
    expect(functions.map(({ name }) => name).sort()).toStrictEqual(Object.entries(require('../index.js')).filter(([name, value]) => typeof value === 'function' && name !== 'ErasableSecret' && name !== 'KeyrackError').map(([name]) => name).sort());
    for (const each of functions) {
      const tags = each.getJsDocTags(checker).map((tag) => tag.name);
      expect([each.name, ts.displayPartsToString(each.getDocumentationComment(checker)).length > 40, tags.includes('example')]).toStrictEqual([each.name, true, true]);
      if (!each.name.startsWith('format')) expect([each.name, tags.includes('throws')]).toStrictEqual([each.name, true]);
    }
    for (const each of exported) expect([each.name, each.getDocumentationComment(checker).length > 0 || each.name === 'default']).toStrictEqual([each.name, true]);
  });
});

describe('declared names', () => {
  beforeAll(async () => {
    expect(await run(bin('keyrack'), ['types'], { cwd: home.repo, env: home.env })).toMatchObject({ status: 0, stderr: '' });
    cpSync(join(here, 'declared'), join(home.repo, 'd'), { recursive: true });
  });
  const declared = () => ({ 'keyrack-env.d.ts': readFileSync(join(home.repo, 'keyrack-env.d.ts'), 'utf8') });
  const usage = (name) => ({ [`d/${name}`]: readFileSync(join(here, 'declared', name), 'utf8') });

  it.each([
    ['usage.mts', NODE16],
    ['usage.mts', { ...BUNDLER, baseUrl: '.' }],
    ['usage.cts', NODE16],
  ])('%s compiles, and what is misspelt does not (%j)', (name, options) => {
    const base = options.baseUrl ? { baseUrl: home.repo } : {};
    expect(compile({ ...declared(), ...usage(name) }, { ...options, ...base, lib: ES2022 }).said).toStrictEqual([]);
  });

  it('are found by a tsconfig without files, in ESM and CommonJS packages', async () => {
    for (const type of ['module', 'commonjs']) {
      writeFileSync(join(home.repo, 'package.json'), JSON.stringify({ type }));
      const { config } = ts.parseConfigFileTextToJson('tsconfig.json', '{}');
      const { fileNames } = ts.parseJsonConfigFileContent(config, ts.sys, home.repo);
      expect(fileNames).toContain(join(home.repo, 'keyrack-env.d.ts'));
      const { said } = compile({ ...declared(), 'p/n.ts': "import { getSync } from 'keyrack';\ngetSync({ for: { key: 'NOPE' }, env: 'test' });\n" }, { ...NODE16, lib: ES2022 });
      expect(said).toStrictEqual([expect.stringContaining("p/n.ts: Type '\"NOPE\"' is not assignable to type")]);
    }
  });

  it('are completed by an editor', () => {
    const text = "import { getSync, source } from 'keyrack';\ngetSync({ for: { key: '' }, env: '' });\nsource({ env: 'test', key: '' });\n";
    const files = { ...declared(), 'p/c.mts': text };
    const { program } = compile(files, { ...NODE16, lib: ES2022 });
    const host = {
      getCompilationSettings: () => program.getCompilerOptions(),
      getScriptFileNames: () => Object.keys(files).map((name) => join(home.repo, name)),
      getScriptVersion: () => '1',
      getScriptSnapshot: (name) => (ts.sys.fileExists(name) ? ts.ScriptSnapshot.fromString(ts.sys.readFile(name)) : undefined),
      getCurrentDirectory: () => home.repo,
      getDefaultLibFileName: ts.getDefaultLibFilePath,
      fileExists: ts.sys.fileExists,
      readFile: ts.sys.readFile,
      realpath: ts.sys.realpath,
    };
    const service = ts.createLanguageService(host);
    const at = (lead) => service.getCompletionsAtPosition(join(home.repo, 'p/c.mts'), text.indexOf(lead) + lead.length, {}).entries.map(({ name }) => name);
    for (const lead of ["for: { key: '", "env: 'test', key: '"]) expect(at(lead)).toStrictEqual(expect.arrayContaining(['API_KEY', 'DB_PASSWORD', 'LOG-1']));
    expect(at("}, env: '")).toStrictEqual(expect.arrayContaining(['test', 'prod', 'sudo']));
  });
});

describe('using', () => {
  /** The file, as TypeScript compiles it for engines that know no `using`. */
  function compiled() {
    const { said } = compile({ 'p/erase.ts': readFileSync(join(here, 'using', 'erase.ts'), 'utf8') }, { ...BUNDLER, lib: DISPOSABLE });
    expect(said).toStrictEqual([]);
    const { outputText } = ts.transpileModule(readFileSync(join(here, 'using', 'erase.ts'), 'utf8'), { compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.CommonJS } });
    expect(outputText).toContain('__addDisposableResource');
    return outputText;
  }

  it('erases the secret at the end of the block', async () => {
    writeFileSync(join(home.repo, 'erase.cjs'), `${compiled()}\nconsole.log(JSON.stringify(lengthOf('acme.test.PROBE')));\n`);
    const { stdout, stderr } = await runNode(null, { cwd: home.repo, env: { ...home.env, PROBE: 'probe' } }, ['erase.cjs']);
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toStrictEqual({ during: 5, after: 0, zeros: true });
  });

  it.each(['before', 'after'])('works with a polyfill loaded %s keyrack', (when) => {
    // A context of its own has no Symbol.dispose of ours.
    const context = vm.createContext({});
    const load = (text, imports) => vm.runInContext(`(function (require) { const module = { exports: {} }; const exports = module.exports; ${text}\nreturn module.exports; })`, context)(imports);
    const bring = () => vm.runInContext("Object.hasOwn(Symbol, 'dispose') || Object.defineProperty(Symbol, 'dispose', { value: Symbol('Symbol.dispose') })", context);
    if (when === 'before') bring();
    const { ErasableSecret } = load(readFileSync(join(root, 'lib/secret.js'), 'utf8'), require);
    if (when === 'after') bring();
    const getSync = () => ({ attempt: { status: 'granted', grant: { key: { secret: new ErasableSecret(new Uint8Array([1, 2, 3])) } } } });
    const { lengthOf } = load(compiled(), () => ({ getSync }));
    expect({ ...lengthOf('K') }).toStrictEqual({ during: 3, after: 0, zeros: true });
  });
});

describe('KeyrackErrorCode', () => {
  it('completes known codes and accepts unknown ones', () => {
    const text = "import type { KeyrackErrorCode } from 'keyrack';\nexport const newer: KeyrackErrorCode = 'of_a_newer_daemon';\nexport const f = (code: KeyrackErrorCode): boolean => code === 'locked';\n";
    expect(compile({ 'p/e.mts': text }, { ...NODE16, lib: ES2022 }).said).toStrictEqual([]);
    const union = /export type KeyrackErrorCode =\n((?: {2}\|.*\n)+)/.exec(readFileSync(join(root, 'index.d.ts'), 'utf8'))[1];
    expect(union.trimEnd().split('\n').at(-1)).toBe('  | (string & {});');
  });
});
