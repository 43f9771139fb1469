#!/usr/bin/env node
/** `npm run bench`: builds the product and the benchmarks into dist/, then runs what the command line names. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from '../scripts/build.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const require = createRequire(join(root, 'package.json'));
/** Native, or loaded by nobody but a worker: as in scripts/build.mjs. */
const EXTERNAL = ['@temporalio/worker', '@temporalio/core-bridge', '@temporalio/testing', 'fauxqs', 'libsql', 'mssql', '@swc/*'];

async function buildBenchmarks() {
  const { build: esbuild } = require('esbuild');
  const { bundleWorkflowCode, DefaultLogger } = require('@temporalio/worker');
  mkdirSync(join(root, 'dist', 'bench'), { recursive: true });
  const program = join(root, 'dist', 'bench', 'main.js');
  await esbuild({
    absWorkingDir: root,
    entryPoints: ['bench/main.ts'],
    outfile: program,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node20',
    // as the command is built: what is measured is what is shipped
    minifyWhitespace: true,
    minifySyntax: true,
    keepNames: true,
    external: EXTERNAL,
    supported: { 'dynamic-import': false },
    logLevel: 'warning',
  });
  const { code } = await bundleWorkflowCode({ workflowsPath: join(root, 'bench', 'workflows.ts'), logger: new DefaultLogger('WARN') });
  writeFileSync(join(root, 'dist', 'bench', 'workflow-bundle.js'), code);
  return program;
}

process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= 'true';
await build({ ifNeeded: true });
require(await buildBenchmarks());
