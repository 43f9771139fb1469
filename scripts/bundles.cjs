'use strict';
/** What dist/ holds and of what it is built. Apart from the builder, so that a command finds out whether it is fresh in a few milliseconds. */
const { readdirSync, statSync } = require('node:fs');
const { join } = require('node:path');

const root = join(__dirname, '..');
const dist = (name) => join(root, 'dist', name);

const SOURCES = ['activities', 'cli', 'client', 'domain', 'local', 'stores', 'worker', 'workflows'];
const WORKFLOWS = { entry: 'workflows/index.ts', out: 'workflow-bundle.js', sources: ['workflows', 'domain'] };
/** The command, the library, what provisions servers for the tests, and the workflows. */
const BUNDLES = [
  { entry: 'cli/main.ts', out: 'keywarden.js', sources: SOURCES },
  { entry: 'client/index.ts', out: 'client.js', sources: ['client', 'domain', 'stores'] },
  { entry: 'local/temporal/provision.ts', out: 'provision.js', sources: ['local/temporal', 'local/supervise'] },
  WORKFLOWS,
];
/** What decides how a bundle is made of its sources. */
const BUILDERS = ['package-lock.json', 'scripts/build.mjs', 'scripts/bundles.cjs', 'scripts/protos.mjs'];

/** Those that lack here, or are older than their sources. */
function stale() {
  const seen = new Map();
  const changed = (folder) => seen.get(folder) ?? seen.set(folder, newest(join(root, folder))).get(folder);
  return BUNDLES.filter(({ entry, out, sources }) => {
    const built = time(dist(out));
    return time(join(root, entry)) > 0 && [...BUILDERS, ...sources].some((s) => changed(s) >= built);
  });
}

/** When something in it last changed; a removed file changes its folder. */
function newest(path) {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return 0;
  return stat.isDirectory() ? Math.max(stat.mtimeMs, ...readdirSync(path).map((name) => newest(join(path, name)))) : stat.mtimeMs;
}

const time = (path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;

module.exports = { BUNDLES, SOURCES, WORKFLOWS, dist, root, stale };
