/** `npm start`: sets up what is missing, then runs the demonstration and leaves it running. */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { root, say, setUp } from './setup.mjs';

try {
  await setUp();
} catch (e) {
  say(e.message);
  process.exit(1);
}
const keywarden = join(root, 'bin', 'keywarden');
// in this very process: signals reach the command itself, and its exit code is ours
process.argv.splice(1, 1, keywarden, 'demo');
createRequire(import.meta.url)(keywarden);
