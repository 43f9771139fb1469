import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { openStore } from '../../stores/open';
import { failure } from './entries';
import { temporaryFolder } from './temporaryFolder';

const folder = temporaryFolder();

describe('openStore', () => {
  it.each(['file:PATH', 'file://PATH'])('opens %s and makes its folder', async (form) => {
    const path = join(folder(), 'a b', 'deep', 'keywarden.db');
    const store = await openStore(form === 'file:PATH' ? `file:${path}` : pathToFileURL(path).href);
    await store.migrate();
    await store.close();
    expect(existsSync(path)).toBe(true);
  });

  it.each(['mssql://sa:secret@host/db', 'postgres://x', '', 'keywarden.db', 'file:', 'file::memory:', 'file:a.db?mode=ro', 'file://host/a.db'])('refuses %p with the path of the variable, and repeats no password', async (url) => {
    const e = await failure(openStore(url));
    expect(e).toMatchObject({ code: 'KW-CONFIG', path: 'KEYWARDEN_DATABASE_URL' });
    expect(e.message).not.toContain('secret');
  });
});
