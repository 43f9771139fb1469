#!/usr/bin/env node
/**
 * Builds dist/: the command (keywarden.js), the library (client.js), what provisions servers for the tests (provision.js), and the workflow
 * bundle. `--if-needed` builds only what is older than its sources. Needs node_modules.
 */
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BUNDLES, dist, root, stale, WORKFLOWS } from './bundles.cjs';
import { usedProtos } from './protos.mjs';

const require = createRequire(join(root, 'package.json'));

/** Native, published as ES modules only, or loaded by nobody but a worker: they stay in node_modules. */
const EXTERNAL = ['@temporalio/worker', '@temporalio/core-bridge', '@temporalio/testing', 'fauxqs', 'libsql', 'mssql', '@swc/*'];

/** Names of what was built. Whoever loads a file meanwhile sees the old one or the new one, whole. */
export async function build({ ifNeeded = false } = {}) {
  mkdirSync(join(root, 'dist'), { recursive: true });
  const wanted = ifNeeded ? stale() : BUNDLES.filter((b) => existsSync(join(root, b.entry)));
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
    plugins: [usedProtos],
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

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const began = Date.now();
  const built = await build({ ifNeeded: process.argv.includes('--if-needed') });
  if (built.length > 0) process.stderr.write(`built ${built.join(', ')} in ${((Date.now() - began) / 1000).toFixed(1)} s\n`);
}
