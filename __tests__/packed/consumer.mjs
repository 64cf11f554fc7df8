// An empty project that installs keyrack, with a home, caches and a daemon of its own.

import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { expect, inject } from 'vitest';

const require = createRequire(import.meta.url);
const { makeHome, root, run } = require('../helpers/home.cjs');
const { writeSshKey } = require('../helpers/ssh.cjs');

const PNPM = join(root, 'node_modules/pnpm/bin/pnpm.cjs');
const YARN = join(root, 'node_modules/@yarnpkg/cli-dist/bin/yarn.js');

/**
 * How each package manager is asked: the words before an argument list. `program` is it itself;
 * `omit` installs without optional dependencies.
 */
const MANAGERS = {
  npm: {
    program: ['npm'],
    add: (spec) => ['npm', 'install', '--ignore-scripts', ...spec],
    omit: (spec) => ['npm', 'install', '--ignore-scripts', '--omit=optional', ...spec],
    node: [process.execPath],
    keyrack: ['npx', '--no', '--', 'keyrack'],
  },
  pnpm: {
    program: [process.execPath, PNPM],
    add: (spec) => [process.execPath, PNPM, 'add', '--ignore-scripts', ...spec],
    omit: (spec) => [process.execPath, PNPM, 'add', '--ignore-scripts', '--no-optional', ...spec],
    node: [process.execPath],
    keyrack: [process.execPath, PNPM, '--silent', 'keyrack'],
  },
  yarn: {
    program: [process.execPath, YARN],
    add: (spec) => [process.execPath, YARN, 'add', ...spec],
    node: [process.execPath, YARN, 'node'],
    keyrack: [process.execPath, YARN, 'keyrack'],
  },
};

/** An empty project for a package manager, nothing installed. */
export function makeConsumer(manager) {
  const home = makeHome();
  const { registry } = inject('packed');
  const words = MANAGERS[manager];
  const directory = home.repo;
  // Nothing of the environment that `npm test` makes: it would say which project and which settings
  // are meant.
  const env = {
    ...home.env,
    npm_config_registry: registry,
    npm_config_cache: join(home.base, 'npm'),
    npm_config_store_dir: join(home.base, 'store'),
    npm_config_update_notifier: 'false',
    npm_config_audit: 'false',
    npm_config_fund: 'false',
    COREPACK_ENABLE_DOWNLOAD_PROJECT_SPEC: '0',
    YARN_GLOBAL_FOLDER: join(home.base, 'yarn'),
    NO_COLOR: '1',
  };
  const write = (name, text) => {
    mkdirSync(dirname(join(directory, name)), { recursive: true });
    writeFileSync(join(directory, name), text);
  };
  write('package.json', '{ "name": "consumer", "version": "1.0.0", "private": true }\n');
  if (manager === 'yarn') {
    write('yarn.lock', '');
    const settings = ['nodeLinker: pnp', 'pnpEnableEsmLoader: true', `npmRegistryServer: "${registry}"`, 'unsafeHttpWhitelist: ["127.0.0.1"]', 'enableScripts: false', 'enableTelemetry: false', 'enableGlobalCache: false', 'enableImmutableInstalls: false'];
    write('.yarnrc.yml', `${settings.join('\n')}\n`);
  }
  const consumer = {
    ...home,
    directory,
    env,
    write,
    words,
    run: ([program, ...args], options = {}) => run(program, args, { cwd: directory, env, ...options }),
    /** Runs a command that has to succeed; what it printed. */
    async ok(command, options) {
      const { status, stdout, stderr } = await consumer.run(command, options);
      if (status !== 0) throw new Error(`${command.join(' ')}: exit code ${status}\n${stdout}${stderr}`);
      return stdout;
    },
    install: (spec = ['keyrack']) => consumer.ok(words.add(spec), { timeout: 60_000 }),
    /** Writes a program and runs it as this package manager's projects do. */
    node: async (name, text, options) => {
      write(name, text);
      return consumer.ok([...words.node, `./${name}`], options);
    },
    keyrack: (args, options) => consumer.run([...words.keyrack, ...args], options),
    /** A file of one of these tools, as this package manager's projects run it. */
    tool: (name, file, ...args) => {
      const program = name === 'typescript' && manager === 'yarn' ? [process.execPath, YARN, 'tsc'] : [...words.node, join(root, 'node_modules', name, file)];
      return consumer.run([...program, ...args], { timeout: 60_000 });
    },
    /**
     * Puts the checkout's own tools beside what was installed, as if they had been installed too.
     */
    async tools(...names) {
      // Yarn has its own changes to TypeScript, and makes them to what it fetches.
      if (manager === 'yarn') return void (await consumer.install(names.map((name) => (name === 'typescript' ? name : `${name}@link:${join(root, 'node_modules', name)}`))));
      for (const name of names) {
        const to = join(directory, 'node_modules', name);
        mkdirSync(dirname(to), { recursive: true });
        if (!existsSync(to)) symlinkSync(join(root, 'node_modules', name), to);
      }
    },
    /**
     * A key that a real daemon of this home holds, by way of a real vault: everything a person
     * does, with the installed command.
     */
    async unlockKey(secret) {
      writeSshKey(home.home);
      const does = async (args, options) => {
        const { status, stderr } = await consumer.keyrack(args, options);
        expect([args, status, status === 0 ? '' : stderr]).toStrictEqual([args, 0, '']);
      };
      await does(['init', '--org', 'acme']);
      await does(['set', '--key', 'TOKEN', '--env', 'test', '--vault', 'os.secure', '--mech', 'PERMANENT_VIA_REPLICA'], { input: secret });
      await does(['unlock', '--env', 'test', '--duration', '10m']);
    },
    async end() {
      await consumer.keyrack(['daemon', 'stop']);
      home.remove();
    },
  };
  return consumer;
}
