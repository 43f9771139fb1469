import { execFileSync, spawnSync } from 'node:child_process';
import { appendFileSync, cpSync, mkdirSync, readdirSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { newFolder } from './fixture/run-stack';

jest.setTimeout(60_000);

const root = resolve(__dirname, '../..');
let checkout: string;

const mainFile = () => join(checkout, 'cli/main.ts');
/** A change that no clock is too coarse for. */
function edit(path: string, text: string): void {
  writeFileSync(path, text);
  const later = new Date(Date.now() + 2_000);
  utimesSync(path, later, later);
}

function keywarden(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(checkout, 'bin/keywarden'), ...args], { encoding: 'utf8' });
  return { status, out: stdout.trim(), err: stderr.trim() };
}

beforeEach(() => {
  checkout = newFolder();
  for (const folder of ['bin', 'scripts']) cpSync(join(root, folder), join(checkout, folder), { recursive: true });
  for (const file of ['package.json', 'package-lock.json']) cpSync(join(root, file), join(checkout, file), { preserveTimestamps: true });
  symlinkSync(join(root, 'node_modules'), join(checkout, 'node_modules'));
  mkdirSync(join(checkout, 'cli'));
  writeFileSync(mainFile(), `console.log('first', process.argv.slice(2).join());`);
});
afterEach(() => rmSync(checkout, { recursive: true, force: true }));

describe('bin/keywarden', () => {
  it('builds what is missing, passes arguments on, and keeps compiled code for the next run', () => {
    expect(keywarden('status', '--json')).toEqual({ status: 0, out: 'first status,--json', err: '' });
    expect(readdirSync(join(checkout, 'dist/keywarden.js.cache'))).toHaveLength(1);
    expect(keywarden('again').out).toBe('first again');
  });

  it('builds anew when a source has changed', () => {
    keywarden();
    edit(mainFile(), `console.log('second');`);
    expect(keywarden().out).toBe('second');
  });

  it('runs the last build when a new one cannot be made, and says so', () => {
    keywarden();
    edit(mainFile(), 'const = broken');
    const { status, out, err } = keywarden();
    expect([status, out]).toEqual([0, 'first']);
    expect(err).toContain('could not be built anew');
  });

  it('keeps class names, loads packages lazily, and hands on the exit code, from compiled code too', () => {
    const text = `class Kept {} ; import('libsql').then((m) => { console.log(new Kept().constructor.name, typeof m.default); process.exit(3); });`;
    writeFileSync(mainFile(), text);
    for (const run of [1, 2]) expect([run, keywarden()]).toEqual([run, { status: 3, out: 'Kept function', err: '' }]);
  });
});

describe('npm start', () => {
  it('runs the demonstration with its arguments and its exit code, in a folder that needs nothing installed', () => {
    writeFileSync(mainFile(), `console.log(process.argv.slice(2).join()); process.exit(process.argv.includes('--once') ? 0 : 7);`);
    // the packages are there through a link: an installation would be a defect, and must not touch them
    const withoutNpm = { ...process.env, npm_execpath: join(checkout, 'no-npm.js') };
    const start = (...args: string[]) => spawnSync(process.execPath, [join(checkout, 'scripts/start.mjs'), ...args], { encoding: 'utf8', env: withoutNpm });
    expect(start('--once')).toMatchObject({ status: 0, stdout: 'demo,--once\n' });
    expect(start()).toMatchObject({ status: 7, stdout: 'demo\n' });
  });
});

describe('the count of tests', () => {
  const result = {
    numPassedTests: 2,
    numFailedTests: 1,
    numPendingTests: 2,
    numTodoTests: 0,
    numRuntimeErrorTestSuites: 1,
    testResults: [
      {
        name: '/x/test/a.test.ts',
        assertionResults: [
          { status: 'passed', fullName: 'works' },
          { status: 'pending', fullName: 'SQL Server (skipped: KEYWARDEN_TEST_MSSQL_URL is not set) writes' },
          { status: 'pending', fullName: 'something' },
        ],
      },
    ],
  };
  const evaluate = (expression: string) => {
    const text = `import * as c from ${JSON.stringify(join(root, 'scripts/test-count.mjs'))}; const result = ${JSON.stringify(result)}; console.log(JSON.stringify(${expression}) ?? null)`;
    return JSON.parse(execFileSync(process.execPath, ['--input-type=module', '-e', text], { encoding: 'utf8' })) as unknown;
  };

  it('is jest’s own, a file that does not load being one failure', () => {
    expect(evaluate('c.count(result)')).toEqual({ passed: 2, failed: 2, skipped: 2 });
  });

  it('names each skipped test with its reason', () => {
    expect(evaluate(`c.skippedLines(result, '/x')`)).toEqual([
      'skipped: test/a.test.ts: SQL Server (skipped: KEYWARDEN_TEST_MSSQL_URL is not set) writes: KEYWARDEN_TEST_MSSQL_URL is not set',
      'skipped: test/a.test.ts: something: no reason in its name',
    ]);
  });

  it('is too low when fewer ran than expected, skipped ones not counted', () => {
    const path = join(checkout, 'expected.json');
    const look = () => evaluate(`c.tooFew(c.count(result), ${JSON.stringify(path)})`);
    expect(look()).toContain('is missing');
    appendFileSync(path, '{"atLeast": 5}');
    expect(look()).toBe('only 4 tests ran; test/expected-count.json asks for 5 at least');
    writeFileSync(path, '{"atLeast": 4}');
    expect(look()).toBeNull();
  });
});
