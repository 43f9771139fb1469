import { chmodSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { spawn } from 'node:child_process';
import { setTimeout as pause } from 'node:timers/promises';
import { takeLock } from '../supervise/folder-lock';
import { freePort } from '../supervise/ports';
import { cacheFolder } from './cache-folder';
import { runCommand } from './run-command';

export const TEST_SERVER_VERSION = '1.38.0';

const folder = () => cacheFolder(`temporal-test-server-${TEST_SERVER_VERSION}`);
const wrapper = () => join(folder(), 'server', 'temporal-test-server');

/** Resolved by Maven from this project of one dependency; no repository is named, the user's settings decide. */
const POM = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>keywarden</groupId><artifactId>test-server</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies><dependency>
    <groupId>io.temporal</groupId><artifactId>temporal-test-server</artifactId><version>${TEST_SERVER_VERSION}</version>
  </dependency></dependencies>
</project>
`;

/** Its own folder is where its jars are, wherever the cache is moved. */
const WRAPPER = `#!/bin/sh
exec java -cp "$(dirname "$0")/lib/*" io.temporal.testserver.TestServer "$@"
`;

export async function cachedMavenServer(): Promise<string | { why: string }> {
  if (!existsSync(wrapper())) return { why: 'none in the cache folder' };
  return (await whyNoJava()) ?? wrapper();
}

export async function mavenServer(report: (line: string) => void): Promise<string | { why: string }> {
  const noJava = await whyNoJava();
  if (noJava !== undefined) return noJava;
  for (let waited = false; ; await pause(1_000)) {
    const lock = takeLock(join(folder(), 'fetch.lock'));
    if ('release' in lock) {
      try {
        return existsSync(wrapper()) ? wrapper() : await fetchJars(report);
      } finally {
        lock.release();
      }
    }
    if (!waited) report(`Time-skipping server: process ${lock.heldBy.pid} is fetching it; waiting`);
    waited = true;
  }
}

async function fetchJars(report: (line: string) => void): Promise<string | { why: string }> {
  mkdirSync(folder(), { recursive: true });
  const aside = mkdtempSync(join(folder(), 'fetch-'));
  try {
    writeFileSync(join(aside, 'pom.xml'), POM);
    const { failure, output } = await runCommand('mvn', ['-B', '-q', 'dependency:copy-dependencies', `-DoutputDirectory=${join(aside, 'lib')}`], {
      timeoutMs: 10 * 60_000,
      cwd: aside,
      onTick: (s) => report(`Time-skipping server: Maven is fetching it, ${s} s`),
    });
    if (failure !== undefined) return { why: `mvn: ${/\[ERROR\] (.*)/.exec(output)?.[1] ?? failure}` };
    const script = join(aside, 'temporal-test-server');
    writeFileSync(script, WRAPPER);
    chmodSync(script, 0o755);
    const why = await whySilent(script);
    if (why !== undefined) return { why };
    rmSync(dirname(wrapper()), { recursive: true, force: true });
    renameSync(aside, dirname(wrapper()));
    return wrapper();
  } finally {
    rmSync(aside, { recursive: true, force: true });
  }
}

async function whyNoJava(): Promise<{ why: string } | undefined> {
  const { failure } = await runCommand('java', ['-version'], { timeoutMs: 15_000 });
  return failure === undefined ? undefined : { why: `java -version: ${failure}` };
}

/** A fetch counts only when what it fetched opens its port. */
async function whySilent(script: string): Promise<string | undefined> {
  const port = await freePort();
  const server = spawn(script, [String(port)], { stdio: 'ignore' });
  let ended = false;
  server.once('exit', () => (ended = true));
  server.once('error', () => (ended = true));
  try {
    for (const end = Date.now() + 30_000; Date.now() < end && !ended; await pause(100)) {
      if (await opens(port)) return undefined;
    }
    return ended ? 'the fetched server ended at once' : 'the fetched server did not open its port within 30 s';
  } finally {
    server.kill('SIGKILL');
  }
}

function opens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    socket.once('connect', () => (socket.destroy(), resolve(true)));
    socket.once('error', () => resolve(false));
  });
}
