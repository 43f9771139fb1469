/** What jest's JSON result comes to. */
import { existsSync, readFileSync } from 'node:fs';
import { relative } from 'node:path';

/** A file that could not even be loaded has no tests to fail: it counts as one that failed. */
export function count(result) {
  return {
    passed: result.numPassedTests,
    failed: result.numFailedTests + result.numRuntimeErrorTestSuites,
    skipped: result.numPendingTests + result.numTodoTests,
  };
}

/** One line for each skipped test; the reason stands in a name around it, after `skipped:`. */
export function skippedLines(result, root) {
  return result.testResults.flatMap((file) =>
    file.assertionResults
      .filter((test) => ['pending', 'skipped', 'todo', 'disabled'].includes(test.status))
      .map((test) => {
        const reason = /skipped: ([^)]*)/.exec(test.fullName)?.[1] ?? (test.status === 'todo' ? 'not written yet' : 'no reason in its name');
        return `skipped: ${relative(root, file.name)}: ${test.fullName}: ${reason}`;
      }),
  );
}

/** Why so few tests cannot be right; undefined when they are enough. A filter or a lost file must not pass for green. */
export function tooFew({ passed, failed }, path) {
  if (!existsSync(path)) return 'test/expected-count.json is missing: {"atLeast": N}';
  const { atLeast } = JSON.parse(readFileSync(path, 'utf8'));
  return passed + failed < atLeast ? `only ${passed + failed} tests ran; test/expected-count.json asks for ${atLeast} at least` : undefined;
}
