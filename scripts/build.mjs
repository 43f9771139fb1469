#!/usr/bin/env node
/**
 * Builds dist/: the command (keywarden.js), the library (client.js), what provisions servers for the tests (provision.js), and the workflow
 * bundle. `--if-needed` builds only what is older than its sources. Needs node_modules.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const dist = (name) => join(root, 'dist', name);
const require = createRequire(join(root, 'package.json'));

const SOURCES = ['activities', 'cli', 'client', 'domain', 'local', 'stores', 'worker', 'workflows'];
/** Native, published as ES modules only, or loaded by nobody but a worker: they stay in node_modules. */
const EXTERNAL = ['@temporalio/worker', '@temporalio/core-bridge', '@temporalio/testing', 'fauxqs', 'libsql', 'mssql', '@swc/*'];

const BUNDLES = [
  { entry: 'cli/main.ts', out: 'keywarden.js', sources: SOURCES },
  { entry: 'client/index.ts', out: 'client.js', sources: ['client', 'domain', 'stores'] },
  { entry: 'local/temporal/provision.ts', out: 'provision.js', sources: ['local/temporal', 'local/supervise'] },
];
const WORKFLOWS = { entry: 'workflows/index.ts', out: 'workflow-bundle.js', sources: ['workflows', 'domain'] };

/** Names of what was built. Whoever loads a file meanwhile sees the old one or the new one, whole. */
export async function build({ ifNeeded = false } = {}) {
  mkdirSync(join(root, 'dist'), { recursive: true });
  const wanted = [...BUNDLES, WORKFLOWS].filter((b) => existsSync(join(root, b.entry)) && !(ifNeeded && isFresh(b)));
  for (const bundle of wanted) await (bundle === WORKFLOWS ? buildWorkflows(bundle) : buildProgram(bundle));
  return wanted.map((b) => b.out);
}

async function buildProgram({ entry, out }) {
  const { build: esbuild } = require('esbuild');
  const { outputFiles } = await esbuild({
    absWorkingDir: root,
    entryPoints: [entry],
    outfile: dist(out),
    bundle: true,
    write: false,
    platform: 'node',
    format: 'cjs',
    target: 'node20',
    sourcemap: true,
    // measured: 20 ms off each start. Identifiers and class names stay: they stand in stack traces and histories
    minifyWhitespace: true,
    minifySyntax: true,
    keepNames: true,
    external: EXTERNAL,
    // kept compiled code (bin/keywarden) cannot import(): it becomes a require, as lazy as before
    supported: { 'dynamic-import': false },
    logLevel: 'warning',
  });
  // the map first: a program that is there has its map
  for (const file of outputFiles.sort((a, b) => b.path.length - a.path.length)) replace(file.path, file.contents);
  rmSync(`${dist(out)}.cache`, { recursive: true, force: true });
}

async function buildWorkflows({ entry, out }) {
  const { bundleWorkflowCode, DefaultLogger } = require('@temporalio/worker');
  const { code } = await bundleWorkflowCode({ workflowsPath: join(root, entry), logger: new DefaultLogger('WARN') });
  replace(dist(out), code);
}

function replace(path, contents) {
  const aside = `${path}.${process.pid}`;
  writeFileSync(aside, contents);
  renameSync(aside, path);
}

function isFresh({ out, sources }) {
  const built = statSync(dist(out), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  return built > newest(sources);
}

/** When the sources, or what bundles them, last changed; a removed file changes its folder. */
function newest(sources) {
  let time = Math.max(...['package-lock.json', 'scripts/build.mjs'].map((f) => statSync(join(root, f), { throwIfNoEntry: false })?.mtimeMs ?? 0));
  const visit = (path) => {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat === undefined) return;
    time = Math.max(time, stat.mtimeMs);
    if (stat.isDirectory()) for (const name of readdirSync(path)) visit(join(path, name));
  };
  for (const folder of sources) visit(join(root, folder));
  return time;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const began = Date.now();
  const built = await build({ ifNeeded: process.argv.includes('--if-needed') });
  if (built.length > 0) process.stderr.write(`built ${built.join(', ')} in ${((Date.now() - began) / 1000).toFixed(1)} s\n`);
}
