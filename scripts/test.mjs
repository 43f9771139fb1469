/**
 * `npm test`: set-up, type check, servers, jest. Its last line is jest's own count, `N passed, N failed, N skipped`.
 * Arguments go to jest; without any, fewer tests than test/expected-count.json says are a failure.
 */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { root, say, setUp } from './setup.mjs';
import { count, skippedLines, tooFew } from './test-count.mjs';

const jestArgs = process.argv.slice(2);
const results = join(root, 'dist', 'test-results.json');

/** Answers the exit code; its output, unless it is wanted, goes where ours goes. */
function run(args, { env = process.env, wanted = false } = {}) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { cwd: root, env, stdio: ['ignore', wanted ? 'pipe' : 'inherit', 'inherit'] });
    let output = '';
    child.stdout?.on('data', (d) => (output += d));
    for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => child.kill(signal));
    child.once('close', (code) => resolve({ code: code ?? 1, output }));
  });
}

async function provision() {
  const { output } = await run([join('dist', 'provision.js')], { wanted: true });
  const { cli = null, testServer = null } = output.trim() === '' ? {} : JSON.parse(output);
  return { ...(cli === null ? {} : { KEYWARDEN_TEMPORAL_CLI: cli }), ...(testServer === null ? {} : { KEYWARDEN_TEST_SERVER: testServer }) };
}

/** Answers jest's result, or why it did not come to that. */
async function test() {
  await setUp();
  const types = await run([join('node_modules', 'typescript', 'bin', 'tsc'), '-p', '.']);
  if (types.code !== 0) throw new Error('the type check failed; no test was run');
  // the SDK's note that later releases need Node 22: pinned, see docs/dependencies.md
  const env = { ...process.env, AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true', ...(await provision()) };
  rmSync(results, { force: true });
  const { code } = await run([join('node_modules', 'jest', 'bin', 'jest.js'), '--maxWorkers=2', '--json', `--outputFile=${results}`, ...jestArgs], { env });
  if (!existsSync(results)) throw new Error('jest left no result');
  return { code, result: JSON.parse(readFileSync(results, 'utf8')) };
}


let line = '0 passed, 0 failed, 0 skipped';
let exit = 1;
try {
  const { code, result } = await test();
  const counted = count(result);
  line = `${counted.passed} passed, ${counted.failed} failed, ${counted.skipped} skipped`;
  for (const skipped of skippedLines(result, root)) say(skipped);
  const why = jestArgs.length > 0 ? undefined : tooFew(counted, join(root, 'test', 'expected-count.json'));
  if (why !== undefined) say(why);
  exit = code === 0 && counted.failed === 0 && why === undefined ? 0 : 1;
} catch (e) {
  say(e.message);
}
process.stdout.write(`${line}\n`);
process.exitCode = exit;
