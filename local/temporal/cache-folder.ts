import { homedir } from 'node:os';
import { join } from 'node:path';

/** Where what was fetched or built once is kept between checkouts, each thing in a folder that names its version. */
export function cacheFolder(name: string): string {
  const xdg = process.env.XDG_CACHE_HOME;
  const base = xdg !== undefined && xdg !== '' ? xdg : process.platform === 'darwin' ? join(homedir(), 'Library', 'Caches') : join(homedir(), '.cache');
  return join(base, 'keywarden', name);
}
