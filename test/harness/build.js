const { execFileSync } = require('node:child_process');
const { join } = require('node:path');

/** jest's global set-up: the workflow bundle and the command as the tests will run them; a tenth of a second when nothing changed. */
module.exports = async () => {
  execFileSync(process.execPath, [join(__dirname, '../../scripts/build.mjs'), '--if-needed'], { stdio: 'inherit' });
};
