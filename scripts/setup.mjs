/** What `npm start` and `npm test` do first on any checkout: packages, then the build. No dependencies. */
import { createHash } from 'node:crypto';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = join(dirname(fileURLToPath(import.meta.url)), '..');

const lockFile = join(root, 'package-lock.json');
const installed = join(root, 'node_modules', '.package-lock.json');
/** Digest of the lock file that was installed; a checkout that only touches the file installs nothing. */
const stamp = join(root, 'node_modules', '.keywarden-installed');

export async function setUp() {
  checkNode();
  if (!packagesFit()) await install();
  const began = Date.now();
  const { build } = await import('./build.mjs');
  const built = await build({ ifNeeded: true });
  if (built.length > 0) say(`built ${built.join(', ')} in ${seconds(began)}`);
}

export function say(line) {
  process.stderr.write(`${line}\n`);
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > 20 || (major === 20 && minor >= 3)) return;
  say(`Keywarden needs Node 20.3 or later; this is ${process.version}`);
  process.exit(1);
}

function packagesFit() {
  if (!existsSync(installed)) return false;
  if (existsSync(stamp)) return readFileSync(stamp, 'utf8') === digest();
  return statSync(installed).mtimeMs >= statSync(lockFile).mtimeMs;
}

function digest() {
  return createHash('sha256').update(readFileSync(lockFile)).digest('hex');
}

async function install() {
  const began = Date.now();
  say('installing packages (npm ci)');
  const progress = setInterval(() => say(`installing packages, ${seconds(began)}`), 5_000);
  // the npm that runs this script, else the one on PATH; the packages for tests and build are needed too
  const npm = process.env.npm_execpath;
  const [command, args] = npm !== undefined && /\.c?js$/.test(npm) ? [process.execPath, [npm]] : ['npm', []];
  const { code, output } = await run(command, [...args, 'ci', '--include=dev']);
  clearInterval(progress);
  if (code !== 0) {
    say(output);
    throw new Error('npm ci failed; its output stands above');
  }
  writeFileSync(stamp, digest());
  say(`packages installed in ${seconds(began)}`);
}

function run(command, args) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    child.stdout.on('data', (d) => (output += d));
    child.stderr.on('data', (d) => (output += d));
    child.once('error', (e) => resolve({ code: 1, output: e.message }));
    child.once('close', (code) => resolve({ code: code ?? 1, output }));
  });
}

function seconds(since) {
  return `${((Date.now() - since) / 1000).toFixed(1)} s`;
}
