/** `keywarden`: one file for each command, one line of registration here. Commands load what they need when they run. */
const [, , first, ...rest] = process.argv;
if (first === '_part') {
  const { runPart } = require('../local/supervise') as typeof import('../local/supervise');
  const [name, ...args] = rest;
  void runPart(name!, args, {
    startLocalKms: async (o) => (await import('../local/kms')).startLocalKms(o),
    startWorker: async (o) => (await import('../worker')).startWorker(o),
  });
} else {
  const { program } = require('./program') as typeof import('./program');
  void program(process.argv);
}
