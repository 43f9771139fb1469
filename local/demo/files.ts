import { join } from 'node:path';

/** What a development folder holds besides the stack's own state. */
export function demoFiles(dataDir: string) {
  return { config: join(dataDir, 'keywarden.config.json'), credentials: join(dataDir, 'credentials.json'), identities: join(dataDir, 'identities'), journal: join(dataDir, 'journal') };
}
