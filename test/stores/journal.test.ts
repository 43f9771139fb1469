import { appendFileSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AuditEntry } from '../../domain/audit';
import { verifyTrail } from '../../stores/auditTrail';
import { EmbeddedStore } from '../../stores/embedded/embeddedStore';
import { Journal } from '../../stores/journal';
import { childProcesses, start } from './children';
import { collect, disabling, failure } from './entries';
import { FaultyStore } from './faultyStore';
import { temporaryFolder } from './temporaryFolder';

const folder = temporaryFolder();
let dir: string;
let file: string;
let store: FaultyStore;

childProcesses();
beforeEach(async () => {
  dir = join(folder(), 'journal');
  file = join(folder(), 'keywarden.db');
  store = new FaultyStore(new EmbeddedStore(file));
  await store.migrate();
});
afterEach(() => store.close());

const at = (second: number): string => new Date(Date.UTC(2026, 0, 5, 9, 0, second)).toISOString();
const names = (): string[] => readdirSync(dir).sort();
const only = (end: string): string => join(dir, names().find((n) => n.endsWith(end)) as string);
const stored = async (): Promise<string[]> => (await collect(store.real.readAudit())).map((r) => r.entry.eventId);

describe('the journal', () => {
  it('is empty before its first row, and makes nothing', async () => {
    const journal = new Journal(dir, 'emergency');
    expect(await journal.pending()).toBe(0);
    expect(await journal.isEmpty()).toBe(true);
    expect(await journal.drainInto(store)).toBe(0);
    expect(store.calls('withKeyLease')).toBe(0);
  });

  it('keeps rows, readable by their owner only, until the store has them; then archives the file', async () => {
    const journal = new Journal(dir, 'duty: emergency/1');
    await journal.append([disabling('e1'), disabling('e2')]);
    await journal.append([disabling('e3')]);
    expect(names()).toEqual([expect.stringMatching(/^duty_emergency_1-\d+-\w+\.journal$/)]);
    expect(statSync(only('.journal')).mode & 0o077).toBe(0);
    expect(await journal.pending()).toBe(3);
    expect(await journal.drainInto(store)).toBe(3);
    expect(names()).toEqual([expect.stringMatching(/\.merged$/)]);
    expect(await journal.pending()).toBe(0);
    expect((await collect(store.readAudit())).map((r) => r.entry)).toEqual(['e1', 'e2', 'e3'].map((id) => disabling(id, { journaled: true })));
  });

  it('goes on in a new file after a merge', async () => {
    const journal = new Journal(dir, 'emergency');
    for (const id of ['e1', 'e2', 'e3']) {
      await journal.append([disabling(id)]);
      expect(await journal.drainInto(store)).toBe(1);
    }
    expect(await stored()).toEqual(['e1', 'e2', 'e3']);
  });

  it('merges all files in order of time, each one in its own order whatever its clock did', async () => {
    const [a, b] = [new Journal(dir, 'a'), new Journal(dir, 'b')];
    await a.append([disabling('a1', { at: at(1) })]);
    await a.append([disabling('a5', { at: at(5) })]);
    // a clock that went back: this row was written after a5
    await a.append([disabling('a0', { at: at(0) })]);
    await b.append([disabling('b2', { at: at(2) }), disabling('b5', { at: at(5) })]);
    await a.drainInto(store);
    expect(await stored()).toEqual(['a1', 'b2', 'a5', 'a0', 'b5']);
  });

  it('keeps the first of an event that the store has already (rule 6)', async () => {
    await store.appendAudit([disabling('e1')]);
    const journal = new Journal(dir, 'emergency');
    await journal.append([disabling('e1'), disabling('e2')]);
    await journal.drainInto(store);
    expect((await collect(store.readAudit())).map((r) => r.entry.journaled)).toEqual([undefined, true]);
  });

  it('refuses an entry that could not be hashed, and is not spoilt by it', async () => {
    const journal = new Journal(dir, 'emergency');
    expect(await failure(journal.append([disabling('e1', { detail: { seconds: 0.5 } })]))).toMatchObject({ code: 'KW-BUG' });
    await journal.append([disabling('e2')]);
    expect(await journal.pending()).toBe(1);
  });

  it('rejects with KW-AUDIT when its folder cannot be written, and writes again when it can', async () => {
    writeFileSync(dir, 'a file where the folder should be');
    const journal = new Journal(dir, 'emergency');
    expect(await failure(journal.append([disabling('e1')]))).toMatchObject({ code: 'KW-AUDIT' });
    rmSync(dir);
    await journal.append([disabling('e1')]);
    expect(await journal.pending()).toBe(1);
  });

  it('notices that its file is gone, and writes the row again', async () => {
    const journal = new Journal(dir, 'emergency');
    await journal.append([disabling('e1')]);
    renameSync(dir, `${dir}-elsewhere`);
    await journal.append([disabling('e2')]);
    expect(await journal.pending()).toBe(1);
  });
});

describe('a journal file that did not end well', () => {
  it.each([
    ['half a line', '[{"seq":4,"prev":"ab'],
    ['half a line of several rows', '[{"seq":4,"prev":"00","hash":"00","entry":{"eventId":"x"}},{"seq'],
    ['zeros where the disk had no data yet', '\0'.repeat(700)],
    ['zeros with a line end', `${'\0'.repeat(700)}\n`],
  ])('is merged without its torn end: %s', async (_what, end) => {
    await new Journal(dir, 'dead').append([disabling('e1')]);
    appendFileSync(only('.journal'), end);
    expect(await new Journal(dir, 'other').pending()).toBe(1);
    expect(await new Journal(dir, 'other').drainInto(store)).toBe(1);
    expect(names()).toEqual([expect.stringMatching(/\.merged$/)]);
  });

  it('counts a last line that lacks only its line end', async () => {
    await new Journal(dir, 'dead').append([disabling('e1')]);
    writeFileSync(only('.journal'), readFileSync(only('.journal'), 'utf8').trimEnd());
    expect(await new Journal(dir, 'other').drainInto(store)).toBe(1);
  });

  it('without any row is archived', async () => {
    mkdirSync(dir);
    writeFileSync(join(dir, 'dead-1-x.journal'), '');
    expect(await new Journal(dir, 'other').drainInto(store)).toBe(0);
    expect(names()).toEqual(['dead-1-x.merged']);
  });

  const spoil: [string, (lines: string[]) => string[]][] = [
    ['a changed line', (l) => l.map((x, i) => (i === 2 ? x.replace('disabled', 'enabled') : x))],
    ['a line that is no JSON', (l) => l.map((x, i) => (i === 2 ? 'rubbish' : x))],
    ['a removed line', (l) => l.filter((_, i) => i !== 2)],
    ['two lines that changed places', (l) => [l[0], l[1], l[3], l[2], l[4]] as string[]],
    ['an added line', (l) => [l[0], l[1], l[1], ...l.slice(2)] as string[]],
  ];
  it.each(spoil)('is reported with file and line, its good lines and all other files merged: %s', async (_what, change) => {
    const dead = new Journal(dir, 'dead');
    for (let i = 1; i <= 5; i += 1) await dead.append([disabling(`d${i}`, { at: at(i), reason: 'disabled' })]);
    const path = only('.journal');
    writeFileSync(path, `${change(readFileSync(path, 'utf8').trimEnd().split('\n')).join('\n')}\n`);
    const living = new Journal(dir, 'living');
    await living.append([disabling('l9', { at: at(9) })]);
    const e = await failure(living.drainInto(store));
    expect(e).toMatchObject({ code: 'KW-AUDIT-BROKEN', path: `${path.replace(/journal$/, 'broken')}:3` });
    expect(await stored()).toEqual(['d1', 'd2', 'l9']);
    expect(names().map((n) => n.split('.')[1])).toEqual(['broken', 'merged']);
    // it stays reported until a person has dealt with it, and does not keep new rows out
    await living.append([disabling('l10', { at: at(10) })]);
    expect(await failure(living.drainInto(store))).toMatchObject({ code: 'KW-AUDIT-BROKEN' });
    expect(await stored()).toEqual(['d1', 'd2', 'l9', 'l10']);
  });
});

describe('a merge that fails', () => {
  it.each(['down', 'failAfterEffect'] as const)('in the middle (%s) loses nothing and doubles nothing', async (fault) => {
    const journal = new Journal(dir, 'emergency');
    const entries = Array.from({ length: 1_200 }, (_, i): AuditEntry => disabling(`e${i}`));
    await journal.append(entries);
    store.failOnce('appendAudit', fault, { after: 1 });
    expect(await failure(journal.drainInto(store))).toMatchObject({ code: 'KW-STORE' });
    expect(names()).toEqual([expect.stringMatching(/\.merging$/)]);
    expect(await journal.pending()).toBe(1_200);
    // rows that come meanwhile are behind them
    await journal.append([disabling('later', { at: at(59) })]);
    expect(await journal.drainInto(store)).toBe(1_201);
    expect(await stored()).toEqual([...entries.map((e) => e.eventId), 'later']);
    expect((await verifyTrail(store)).bad).toBeUndefined();
  });

  it('gives up on a store that never answers, and the next one works', async () => {
    const journal = new Journal(dir, 'emergency');
    await journal.append([disabling('e1')]);
    store.fail('withKeyLease', 'hang');
    expect(await failure(journal.drainInto(store))).toMatchObject({ code: 'KW-STORE' });
    store.heal();
    expect(await journal.drainInto(store)).toBe(1);
  });
});

describe('journals of several processes', () => {
  it('kill -9 in the middle of appends loses no row that was answered', async () => {
    const children = ['a', 'b'].map((name) => start('journal', { dir, count: 100_000, name }));
    await Promise.all(children.map((c) => c.saying(50)));
    await Promise.all(children.map((c) => c.kill()));
    await new Journal(dir, 'living').drainInto(store);
    const all = new Set(await stored());
    expect(children.flatMap((c) => c.said).filter((id) => id !== '' && !all.has(id))).toEqual([]);
    expect((await verifyTrail(store)).bad).toBeUndefined();
  });

  it('rows appended by others during merges are never lost', async () => {
    const writers = ['a', 'b'].map((name) => start('journal', { dir, count: 300, name }));
    const over = Promise.all(writers.map((w) => w.ended));
    let writing = true;
    void over.finally(() => (writing = false));
    const journal = new Journal(dir, 'living');
    while (writing) {
      await journal.drainInto(store);
      await new Promise((r) => setTimeout(r, 5));
    }
    await over;
    await journal.drainInto(store);
    const order = await stored();
    expect(order).toHaveLength(600);
    for (const w of writers) expect(order.filter((id) => id.startsWith(`${w.said[0]?.[0]}-`))).toEqual(w.said);
  });

  it('two that merge at once merge once, in order', async () => {
    const a = new Journal(dir, 'a');
    for (let i = 0; i < 40; i += 1) await a.append([disabling(`e${i}`, { at: at(i) })]);
    const merges = ['x', 'y', 'z'].map((name) => start('drain', { dir, file, name }));
    await Promise.all(merges.map((m) => m.ended));
    expect(merges.flatMap((m) => m.said).map(Number).sort((p, q) => p - q)).toEqual([0, 0, 40]);
    expect(await stored()).toEqual(Array.from({ length: 40 }, (_, i) => `e${i}`));
  });

  it('a merge that was killed is finished by another process', async () => {
    const dead = new Journal(dir, 'dead');
    await dead.append([disabling('e1'), disabling('e2')]);
    renameSync(only('.journal'), only('.journal').replace(/journal$/, 'merging'));
    await store.appendAudit([disabling('e1', { journaled: true })]);
    expect(await new Journal(dir, 'living').drainInto(store)).toBe(2);
    expect(await stored()).toEqual(['e1', 'e2']);
  });
});
