/** Imports point one way (DESIGN.md, "How the parts lie"): a part may import itself and what stands here, nothing else of this repository. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative, resolve, dirname } from 'node:path';

const ROOT = resolve(__dirname, '../..');
const MAY: Record<string, string[]> = {
  domain: [],
  workflows: ['domain'],
  stores: ['domain'],
  activities: ['domain', 'stores'],
  worker: ['domain', 'stores', 'activities', 'workflows'],
  client: ['domain', 'stores'],
};

function files(dir: string): string[] {
  return readdirSync(dir).flatMap((name) => {
    const path = join(dir, name);
    return statSync(path).isDirectory() ? files(path) : path.endsWith('.ts') ? [path] : [];
  });
}

/** Specifiers of static and dynamic imports, types included. */
function imports(path: string): string[] {
  const text = readFileSync(path, 'utf8');
  return [...text.matchAll(/(?:from|import\()\s*'([^']+)'/g)].map((m) => m[1]!);
}

function partOf(path: string): string {
  return relative(ROOT, path).split('/')[0]!;
}

describe.each(Object.entries(MAY))('%s', (part, allowed) => {
  it(`imports only itself${allowed.length === 0 ? '' : `, ${allowed.join(', ')}`}`, () => {
    const wrong = files(join(ROOT, part)).flatMap((file) =>
      imports(file)
        .filter((i) => i.startsWith('.'))
        .map((i) => partOf(resolve(dirname(file), i)))
        .filter((p) => p !== part && !allowed.includes(p))
        .map((p) => `${relative(ROOT, file)} imports ${p}`),
    );
    expect(wrong).toEqual([]);
  });
});

it('workflows do no I/O: nothing of Node, of the AWS SDK or of the Temporal worker is imported by workflow code', () => {
  const reached = new Set<string>();
  const wrong: string[] = [];
  const walk = (file: string): void => {
    if (reached.has(file)) return;
    reached.add(file);
    for (const i of imports(file).concat()) {
      if (i.startsWith('.')) walk(`${resolve(dirname(file), i)}.ts`);
      else if (!['@temporalio/workflow', '@temporalio/common', 'zod'].includes(i) && !isTypeOnly(file, i)) wrong.push(`${relative(ROOT, file)} imports ${i}`);
    }
  };
  walk(join(ROOT, 'workflows/index.ts'));
  expect(reached.size).toBeGreaterThan(10);
  expect(wrong).toEqual([]);
});

function isTypeOnly(file: string, specifier: string): boolean {
  const escaped = specifier.replace(/[/.@-]/g, '\\$&');
  return new RegExp(`import type [^;]*from '${escaped}'`).test(readFileSync(file, 'utf8'));
}

it('every export of the workflows entry is a workflow', () => {
  const entry = readFileSync(join(ROOT, 'workflows/index.ts'), 'utf8');
  const names = [...entry.matchAll(/export \{ (\w+) \} from '\.\/(\w+)'/g)];
  expect(names.map((m) => m[1])).toEqual(['eraseSubject', 'initializeKeys', 'recoverKey', 'revokeKey', 'rotateColumnEncryptionKey', 'rotateDueKeys', 'rotateKey']);
  for (const [, name, file] of names) expect(name).toBe(file);
});

it('no folder or file is called utils, helpers, common or misc', () => {
  const parts = [...Object.keys(MAY), 'cli', 'local', 'bench', 'test', 'scripts'];
  const wrong = parts.flatMap((p) => files(join(ROOT, p))).filter((f) => /(^|\/)(utils?|helpers?|common|misc)(\/|\.ts$)/.test(relative(ROOT, f)));
  expect(wrong).toEqual([]);
});
