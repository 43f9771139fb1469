import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openStore } from '../../stores/open';
import { storeContract } from './storeContract';

storeContract('the embedded store', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'keywarden-store-'));
  const url = `file:${join(dir, 'data', 'keywarden.db')}`;
  const store = await openStore(url);
  await store.migrate();
  return { store, again: () => openStore(url), done: async () => rmSync(dir, { recursive: true }) };
});
