import { LocalError } from '../supervise/local-error';
import { cachedMavenServer, mavenServer, TEST_SERVER_VERSION } from './maven-test-server';
import { cachedDownload, download } from './sdk-download';

type Place = { name: string; look(report: (line: string) => void): Promise<string | { why: string }> | string | { why: string } };

const PLACES: Place[] = [
  { name: 'KEYWARDEN_TEST_SERVER', look: () => process.env.KEYWARDEN_TEST_SERVER || { why: 'not set' } },
  { name: "the SDK's earlier download", look: () => cachedDownload('time-skipping') ?? { why: 'none in the cache folder' } },
  { name: `Maven's earlier fetch of version ${TEST_SERVER_VERSION}`, look: () => cachedMavenServer() },
  { name: "the SDK's download", look: (report) => download('time-skipping', report) },
  { name: `Maven, version ${TEST_SERVER_VERSION}`, look: mavenServer },
];

/** The time-skipping server's executable, for `{ executable: { type: 'existing-path', path } }`. */
export async function findTimeSkippingServer(report: (line: string) => void): Promise<{ path: string; source: string }> {
  const tried: string[] = [];
  for (const place of PLACES) {
    const got = await place.look(report);
    if (typeof got === 'string') return { path: got, source: place.name };
    const line = `Time-skipping server: ${place.name}: ${got.why.replace(/\s+/g, ' ').slice(0, 400)}`;
    tried.push(line);
    report(line);
  }
  throw new LocalError(
    'KW-TEST-SERVER',
    `no time-skipping test server can be had here. Tried:\n  ${tried.join('\n  ')}`,
    'install Java 11 or later and Maven, or point KEYWARDEN_TEST_SERVER at a Temporal test server executable',
  );
}
