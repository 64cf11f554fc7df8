#!/usr/bin/env node
// Takes the screenshots of docs/images: real commands in a real terminal on an X server of its own.
// The home is a fresh /home/ada, which is gone afterwards, so that the pictures show no path of
// your machine.
//
//   node scripts/screenshots.mjs               the ones of the README, into docs/images node
//   scripts/screenshots.mjs --all DIR     each scene at 40, 80 and 200 columns, to be looked at
//
// Needs the built binaries (npm run build, or KEYRACK_TEST_BIN), and of Debian: xvfb xfce4-terminal
// dbus-x11 xdotool imagemagick fonts-jetbrains-mono fonts-noto-color-emoji git openssh-client

import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { accessSync, chmodSync, constants, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { root } from './command.mjs';

const HOME = '/home/ada';
const LIMIT = 90_000;
const GROUND = '#1d1f28';
const PALETTE = ['#21232d', '#f2777a', '#99cc99', '#ffcc66', '#6699cc', '#cc99cc', '#66cccc', '#d8dee9', '#666a7a', '#f2777a', '#99cc99', '#ffcc66', '#6699cc', '#cc99cc', '#66cccc', '#ffffff'];

/**
 * What is typed before a picture, and in it. `keys` are pressed one after the other, each when its
 * text is asked for.
 */
const SCENES = {
  init: {
    columns: 80, rows: 34, fresh: true,
    before: ['git remote add origin git@github.com:acme/app.git', 'cp ~/.ssh/id_ed25519 ~/.ssh/work; cp ~/.ssh/id_ed25519.pub ~/.ssh/work.pub'],
    typed: ['keyrack init'], enters: 3,
  },
  unlock: {
    columns: 80, rows: 44,
    typed: ['keyrack get --key API_KEY --env test', 'keyrack unlock --env test --key API_KEY', 'keyrack get --key API_KEY --env test --value'],
  },
  status: {
    columns: 80, rows: 60,
    // Lives that are short, so that waiting makes bars of different lengths.
    before: [
      'keyrack unlock --env prod --key DB_PASSWORD --duration 75s', 'keyrack unlock --env test --key STRIPE_KEY --duration 100s',
      'keyrack unlock --env test --key API_KEY', 'keyrack unlock --key @all.sudo.ROOT', 'sleep 68',
    ],
    typed: ['keyrack status'],
  },
  watch: { columns: 80, rows: 40, before: ['keyrack unlock --env test'], typed: ['keyrack status --watch --env test'], endless: true },
  slips: {
    columns: 80, rows: 34,
    typed: ['keyrack unlcok --env test', 'keyrack get --key API_KEI', 'keyrack unlock --env test --duration 48h'],
  },
  doctor: { columns: 100, rows: 70, before: ['chmod 644 ~/.ssh/id_ed25519'], typed: ['keyrack doctor'] },
  help: { columns: 80, rows: 50, typed: ['keyrack --help'] },
  list: { columns: 80, rows: 50, typed: ['keyrack list', 'keyrack source --env prod', 'keyrack relock'] },
};
const OF_README = ['init', 'unlock', 'status', 'slips'];

function missing() {
  const programs = { Xvfb: 'xvfb', 'xfce4-terminal': 'xfce4-terminal', 'dbus-run-session': 'dbus', xdotool: 'xdotool', import: 'imagemagick', convert: 'imagemagick', git: 'git', 'ssh-keygen': 'openssh-client' };
  const has = (name) => process.env.PATH.split(delimiter).some((dir) => existsSync(join(dir, name)));
  const lacks = Object.entries(programs).filter(([name]) => !has(name)).map(([name, debian]) => `${name} (Debian: ${debian})`);
  if (!existsSync(join(bin, 'keyrack'))) lacks.push(`${join(bin, 'keyrack')} (npm run build)`);
  if (existsSync(HOME)) lacks.push(`a machine without ${HOME}, which is made and removed`);
  else {
    try {
      accessSync('/home', constants.W_OK);
    } catch {
      lacks.push('leave to make /home/ada (run it as root in a container)');
    }
  }
  return lacks;
}

const bin = process.env.KEYRACK_TEST_BIN ?? join(root, 'npm', `linux-${process.arch}-gnu`, 'bin');
const environment = (runtime, display) => ({
  HOME, USER: 'ada', PATH: `${bin}:/usr/local/bin:/usr/bin:/bin`, XDG_RUNTIME_DIR: runtime, LANG: 'C.UTF-8', TERM: 'xterm-256color', SHELL: '/bin/bash',
  GIT_CONFIG_GLOBAL: '/dev/null', KEYRACK_INVOKED_AS: 'keyrack', ...(display && { DISPLAY: display }),
});

/** A home with a repository and some keys in it. */
function makeHome(runtime) {
  rmSync(HOME, { recursive: true, force: true });
  for (const dir of [HOME, join(HOME, '.ssh'), join(HOME, 'app')]) {
    mkdirSync(dir);
    chmodSync(dir, 0o700);
  }
  const type = (line, input = '') => execFileSync('bash', ['-c', line], { cwd: join(HOME, 'app'), env: environment(runtime), input, stdio: ['pipe', 'ignore', 'ignore'], timeout: LIMIT });
  type(`ssh-keygen -q -t ed25519 -N '' -C ada -f ~/.ssh/id_ed25519; git init -q`);
  return type;
}

function fill(type) {
  type('keyrack init --org acme');
  const set = (words, secret) => type(`keyrack set --vault os.secure --mech PERMANENT_VIA_REPLICA ${words}`, secret);
  set('--key API_KEY --env test', 'acme-7f3a91');
  set('--key STRIPE_KEY --env test', 'acme-9127aa');
  set('--key DB_PASSWORD --env prod', 'acme-c01dbe');
  set('--key ROOT --env sudo --org @all --max-duration 20m', 'acme-55e0c7');
}

/** Ends the daemons of this home: those whose socket is in our runtime directory. */
function stopDaemons(runtime) {
  spawnSync(join(bin, 'keyrack'), ['daemon', 'stop'], { env: environment(runtime), timeout: LIMIT, stdio: 'ignore' });
}

/** The terminal's own settings. */
function makeSettings(base) {
  const dir = join(base, 'config', 'xfce4', 'terminal');
  mkdirSync(dir, { recursive: true });
  const lines = {
    FontName: 'JetBrains Mono 11', MiscMenubarDefault: 'FALSE', MiscBordersDefault: 'FALSE', MiscToolbarDefault: 'FALSE', ScrollingBar: 'TERMINAL_SCROLLBAR_NONE', ColorBackground: GROUND,
    ColorForeground: '#d8dee9', ColorPalette: PALETTE.join(';'), MiscCursorBlinks: 'FALSE', MiscConfirmClose: 'FALSE', ColorCursor: GROUND, MiscShowUnsafePasteDialog: 'FALSE',
  };
  writeFileSync(join(dir, 'terminalrc'), `[Configuration]\n${Object.entries(lines).map(([name, value]) => `${name}=${value}`).join('\n')}\n`);
}

/** What runs in the terminal: each command is shown as it is typed, then run. */
function makeScript(base, { typed }) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const lines = typed.flatMap((line) => [`printf '\\033[1;32m~/app\\033[0m $ %s\\n' ${quoted(line)}`, line]);
  const path = join(base, 'scene.sh');
  writeFileSync(path, `cd ~/app\nclear\n${lines.join('\n')}\nprintf "\\033[?25l"\ntouch ${quoted(join(base, "done"))}\nsleep 600\n`);
  return path;
}

async function until(what, found) {
  for (const end = Date.now() + LIMIT; Date.now() < end; await sleep(100)) {
    const it = found();
    if (it) return it;
  }
  throw new Error(`waited in vain for ${what}`);
}

async function shoot(name, columns, out, runtime, display) {
  const scene = SCENES[name];
  const base = mkdtempSync('/tmp/keyrack-scene-');
  const type = makeHome(runtime);
  if (!scene.fresh) fill(type);
  for (const line of scene.before ?? []) type(line);
  makeSettings(base);
  const script = makeScript(base, scene);
  const rows = columns < 60 ? Math.ceil(scene.rows * 1.7) : scene.rows;
  const env = { ...environment(runtime, display), XDG_CONFIG_HOME: join(base, 'config'), NO_AT_BRIDGE: '1' };
  const args = ['--', 'xfce4-terminal', '--disable-server', '--hide-menubar', '--hide-borders', '--hide-scrollbar', `--geometry=${columns}x${rows}+0+0`, '-x', 'bash', '--norc', script];
  const terminal = spawn('dbus-run-session', args, { env, stdio: 'ignore', detached: true });
  const x = (...words) => spawnSync('xdotool', words, { env, encoding: 'utf8', timeout: LIMIT }).stdout.trim();
  try {
    const window = await until('the terminal', () => x('search', '--onlyvisible', '--class', 'xfce4-terminal').split('\n').filter(Boolean).at(-1));
    for (let press = 0; press < (scene.enters ?? 0); press += 1) {
      await sleep(1200);
      x('windowfocus', window);
      x('key', '--window', window, 'Return');
    }
    if (scene.endless) await sleep(2500);
    else await until(`the end of ${name}`, () => existsSync(join(base, 'done')));
    await sleep(700);
    const raw = join(base, 'raw.png');
    execFileSync('import', ['-window', window, raw], { env, timeout: LIMIT });
    execFileSync('convert', [raw, '-bordercolor', GROUND, '-border', '1', '-trim', '+repage', '-border', '18', '-strip', '-colors', '96', '-define', 'png:compression-level=9', out], { timeout: LIMIT });
    console.log(`${out}: ${Math.ceil(statSync(out).size / 1024)} KiB`);
  } finally {
    // Its whole group: it was made the leader of one.
    try {
      process.kill(-terminal.pid, 'SIGTERM');
    } catch {
      // It has ended.
    }
    stopDaemons(runtime);
    rmSync(base, { recursive: true, force: true });
  }
}

/**
 * A login session of our own, as a desktop has (PAM's pam_loginuid does the same); children inherit
 * it. Where we may not, it is shown as it is.
 */
function enterLoginSession() {
  try {
    writeFileSync('/proc/self/loginuid', String(process.getuid()));
  } catch {
    console.error('screenshots: no login session could be made: the boundary will be shown as user');
  }
}

async function main() {
  const lacks = missing();
  if (lacks.length > 0) {
    console.error(`screenshots: missing: ${lacks.join('; ')}`);
    process.exit(2);
  }
  enterLoginSession();
  const [flag, dir, ...only] = process.argv.slice(2);
  const into = resolve(flag === '--all' ? dir : join(root, 'docs', 'images'));
  mkdirSync(into, { recursive: true });
  const made = !existsSync('/run/user/1000');
  const runtime = made ? '/run/user/1000' : mkdtempSync('/tmp/keyrack-run-');
  if (made) mkdirSync(runtime, { recursive: true, mode: 0o700 });
  const display = `:${90 + (process.pid % 100)}`;
  const server = spawn('Xvfb', [display, '-screen', '0', '2400x2000x24', '-nolisten', 'tcp'], { stdio: 'ignore' });
  try {
    await until('the X server', () => existsSync(`/tmp/.X11-unix/X${display.slice(1)}`));
    for (const name of flag === '--all' ? (only.length ? only : Object.keys(SCENES)) : OF_README) {
      for (const columns of flag === '--all' ? [40, 80, 200] : [SCENES[name].columns]) {
        await shoot(name, columns, join(into, flag === '--all' ? `${name}-${columns}.png` : `${name}.png`), runtime, display);
      }
    }
  } finally {
    server.kill();
    rmSync(HOME, { recursive: true, force: true });
    rmSync(runtime, { recursive: true, force: true });
  }
}

await main();
