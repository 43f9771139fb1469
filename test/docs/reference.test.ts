import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { ALERT_KINDS, subjectOf } from '../../domain/alert';
import type { AuditRow } from '../../domain/audit';
import { rowHash, verifyChain } from '../../domain/auditChain';
import { canonicalJson } from '../../domain/canonical';
import { configSchema } from '../../domain/config';
import { digest } from '../../domain/digest';
import { ERROR_CODES } from '../../domain/errors';
import { FLOORS } from '../../domain/quorum';
import { LOCAL_ERROR_CODES } from '../../local/supervise/local-error';
import { block, read, root, tableRows } from './pages';

describe('docs/errors.md', () => {
  const rows = tableRows('docs/errors.md');

  it('has every code, with what it means and whether it is final, and no other', () => {
    const expected = [
      ...Object.entries(ERROR_CODES).map(([name, { final, means }]) => ({ name, says: [final ? 'final' : 'waits', means] })),
      ...Object.entries(LOCAL_ERROR_CODES).map(([name, means]) => ({ name, says: [means] })),
    ];
    expect(rows.map(({ name, cells }) => ({ name, says: cells.slice(0, -1) }))).toEqual(expected);
  });

  it('says what to do about each', () => {
    expect(rows.filter((r) => r.cells.at(-1) === '')).toEqual([]);
  });
});

describe('docs/configuration.md', () => {
  it('names every field of the schema, and no other', () => {
    const described = tableRows('docs/configuration.md').map((r) => r.name).filter((n) => !/^(KEYWARDEN|TEMPORAL|AWS|MALLOC)_/.test(n));
    expect(described.sort()).toEqual([...fieldsOf(z.toJSONSchema(configSchema, { io: 'input' }) as Schema)].sort());
  });
});

interface Schema {
  properties?: Record<string, Schema>;
  items?: Schema;
}

function* fieldsOf(schema: Schema, path = ''): Iterable<string> {
  for (const [name, field] of Object.entries(schema.properties ?? {})) {
    const at = path === '' ? name : `${path}.${name}`;
    yield at;
    yield* fieldsOf(field, at);
    if (field.items !== undefined) yield* fieldsOf(field.items, `${at}[]`);
  }
}

describe('docs/alerts.md', () => {
  it('has every kind, with the words of its subject, and no other', () => {
    const rows = tableRows('docs/alerts.md').map(({ name, cells }) => [name, cells[0]]);
    const headline = (kind: (typeof ALERT_KINDS)[number]): string => subjectOf({ kind, key: 'K' }, { application: 'a', environment: 'e' }).replace(/^\[a\/e\] (.*): K$/, '$1');
    expect(rows).toEqual(ALERT_KINDS.map((kind) => [kind, headline(kind)]));
  });
});

describe('docs/audit.md', () => {
  const row = JSON.parse(block('docs/audit.md', 'row')) as AuditRow;

  it('has an example that verifies', async () => {
    expect(canonicalJson(row.entry)).toBe(block('docs/audit.md', 'canonical'));
    expect(row.hash).toBe(rowHash(row.prev, row.seq, canonicalJson(row.entry)));
    expect(await verifyChain((async function* () { yield row; })())).toEqual({ rows: 1, head: row.hash });
  });
});

describe('docs/approvals.md', () => {
  it('has an example whose digest is the one that it gives', () => {
    expect(read('docs/approvals.md')).toContain(`it is \`${digest(JSON.parse(block('docs/approvals.md', 'plan')))}\``);
  });

  it('has the quorum table of the code', () => {
    const rows = [...read('docs/approvals.md').matchAll(/^\| .*`(\w+(?:\.\w+)?)` \| (\d) \| (.+) \|$/gm)].map(([, name, needed, roles]) => ({ name, needed: Number(needed), roles }));
    const roles = (f: (typeof FLOORS)[keyof typeof FLOORS]): string => {
      const free = (f.roles as readonly string[]).filter((r) => !(f.atMostOne as readonly string[]).includes(r));
      return free.join(' or ') + f.atMostOne.map((r) => `; one may be ${r}`).join('');
    };
    expect(rows).toEqual(Object.entries(FLOORS).map(([name, f]) => ({ name, needed: f.needed, roles: roles(f) })));
  });
});

describe('docs/dependencies.md', () => {
  it('has a line for each dependency, with the licence that its package declares', () => {
    const { dependencies, devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<string, Record<string, string>>;
    const licence = (name: string): string => (JSON.parse(readFileSync(join(root, 'node_modules', name, 'package.json'), 'utf8')) as { license: string }).license;
    const expected = Object.keys({ ...dependencies, ...devDependencies }).map((name) => [name, licence(name)]);
    expect(tableRows('docs/dependencies.md').map(({ name, cells }) => [name, cells[0]]).sort()).toEqual(expected.sort());
  });
});
