import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AuditTrail, verifyTrail } from '../../stores/auditTrail';
import { EmbeddedStore } from '../../stores/embedded/embeddedStore';
import { Journal } from '../../stores/journal';
import { collect, disabling, failure } from './entries';
import { FaultyStore } from './faultyStore';
import { temporaryFolder } from './temporaryFolder';

const folder = temporaryFolder();
let store: FaultyStore;
let journal: Journal;
let problems: unknown[];
let trail: AuditTrail;

beforeEach(async () => {
  store = new FaultyStore(new EmbeddedStore(join(folder(), 'keywarden.db')));
  await store.migrate();
  journal = new Journal(join(folder(), 'journal'), 'emergency');
  problems = [];
  trail = new AuditTrail(store, journal, (p) => problems.push(p));
});
afterEach(async () => {
  store.heal();
  await store.close();
});

const stored = async (): Promise<[string, boolean][]> => (await collect(store.real.readAudit())).map((r) => [r.entry.eventId, r.entry.journaled === true]);
const timed = async <T>(act: Promise<T>): Promise<{ result: T; ms: number }> => {
  const begun = Date.now();
  return { result: await act, ms: Date.now() - begun };
};
async function until(holds: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 15_000; !(await holds()); ) {
    if (Date.now() > end) throw new Error('it never held');
    await new Promise((r) => setTimeout(r, 50));
  }
}

describe('while the store answers', () => {
  it('stores rows there and leaves the journal alone', async () => {
    expect(await trail.record([disabling('e1')])).toBe('store');
    expect(await trail.record([])).toBe('store');
    expect(await stored()).toEqual([['e1', false]]);
    expect(await trail.pending()).toBe(0);
  });

  it('merges what waits before it stores anything new, also what a dead process left', async () => {
    await new Journal(join(folder(), 'journal'), 'dead').append([disabling('left')]);
    expect(await trail.record([disabling('e1')])).toBe('store');
    expect(await stored()).toEqual([['left', true], ['e1', false]]);
  });

  it('does without a journal', async () => {
    expect(await new AuditTrail(store).record([disabling('e1')])).toBe('store');
    expect(await new AuditTrail(store).drain()).toBe(0);
  });

  it('refuses an entry that nothing could store', async () => {
    expect(await failure(trail.record([disabling('e1', { detail: { x: Number.NaN } })]))).toMatchObject({ code: 'KW-BUG' });
    expect(await trail.pending()).toBe(0);
  });

  it('stores rows past a journal that is broken, and reports it', async () => {
    await journal.append([disabling('j1')]);
    await journal.append([disabling('j2')]);
    const { readdirSync, readFileSync } = await import('node:fs');
    const path = join(folder(), 'journal', readdirSync(join(folder(), 'journal'))[0] as string);
    writeFileSync(path, readFileSync(path, 'utf8').replace('j1', 'jX'));
    expect(await trail.record([disabling('e1')])).toBe('store');
    expect(await stored()).toEqual([['e1', false]]);
    expect(problems).toEqual([expect.objectContaining({ code: 'KW-AUDIT-BROKEN' })]);
    expect(await failure(trail.drain())).toMatchObject({ code: 'KW-AUDIT-BROKEN' });
  });

  it('stores rows past a journal whose folder cannot be read', async () => {
    writeFileSync(join(folder(), 'journal'), 'a file where the folder should be');
    expect(await trail.record([disabling('e1')])).toBe('store');
    expect(problems).toHaveLength(1);
  });
});

describe('while the store is down', () => {
  it('journals each row, and merges them in order by itself when the store is back', async () => {
    store.fail('all', 'down');
    expect(await trail.record([disabling('e1', { phase: 'intended' })])).toBe('journal');
    expect(await trail.record([disabling('e2')])).toBe('journal');
    expect(await trail.pending()).toBe(2);
    store.heal();
    await until(async () => (await trail.pending()) === 0);
    // the trail hears a moment later that the store is well
    let tries = 0;
    await until(async () => (await trail.record([disabling(`again-${tries++}`)])) === 'store');
    const rows = await stored();
    expect([...rows.slice(0, 2), rows.at(-1)]).toEqual([['e1', true], ['e2', true], [`again-${tries - 1}`, false]]);
    expect((await verifyTrail(store)).bad).toBeUndefined();
  });

  it('is not asked for each row: the background asks, and rows go straight to the journal', async () => {
    store.fail('all', 'down');
    await trail.record([disabling('e0')]);
    const asked = store.calls('appendAudit');
    for (let i = 1; i <= 20; i += 1) await trail.record([disabling(`e${i}`)]);
    expect(store.calls('appendAudit')).toBe(asked);
  });

  it('a row whose answer was lost stands once (rule 6)', async () => {
    store.failOnce('appendAudit', 'failAfterEffect');
    expect(await trail.record([disabling('e1')])).toBe('journal');
    expect(await trail.drain()).toBe(1);
    expect(await stored()).toEqual([['e1', false]]);
  });

  it('in the middle of a merge: the new row waits behind those of the journal', async () => {
    await journal.append([disabling('j1')]);
    store.failOnce('appendAudit', 'down');
    expect(await trail.record([disabling('e1')])).toBe('journal');
    await trail.drain();
    expect(await stored()).toEqual([['j1', true], ['e1', true]]);
  });

  it('without a journal rejects with KW-AUDIT, so that what rule 3 names waits', async () => {
    store.fail('appendAudit', 'down');
    expect(await failure(new AuditTrail(store).record([disabling('e1')]))).toMatchObject({ code: 'KW-AUDIT', notDone: expect.stringContaining('must wait') });
  });

  it('and the journal too: KW-AUDIT, and each further row tries both again', async () => {
    writeFileSync(join(folder(), 'journal'), 'a file where the folder should be');
    store.fail('all', 'down');
    expect(await failure(trail.record([disabling('e1')]))).toMatchObject({ code: 'KW-AUDIT' });
    store.heal();
    expect(await trail.record([disabling('e1')])).toBe('store');
  });
});

describe('while the store hangs without an answer', () => {
  it('one row pays 2 s at most, the others nothing; nothing is lost or doubled when it wakes', async () => {
    store.fail('all', 'hang');
    const first = await timed(trail.record([disabling('e1')]));
    expect(first.result).toBe('journal');
    expect(first.ms).toBeLessThan(2_300);
    const rest = await timed(Promise.all(['e2', 'e3', 'e4'].map((id) => trail.record([disabling(id)]))));
    expect(rest.result).toEqual(['journal', 'journal', 'journal']);
    expect(rest.ms).toBeLessThan(500);
    // the call that hung is done after all
    store.heal();
    await until(async () => (await trail.pending()) === 0);
    expect((await stored()).map(([id]) => id)).toEqual(['e1', 'e2', 'e3', 'e4']);
  });

  it('ten rows at once pay the 2 s together', async () => {
    store.fail('appendAudit', 'hang');
    const all = await timed(Promise.all(Array.from({ length: 10 }, (_, i) => trail.record([disabling(`e${i}`)]))));
    expect(all.ms).toBeLessThan(2_500);
    expect(new Set(all.result)).toEqual(new Set(['journal']));
  });

  it('a merge that hangs does not let the new row overtake the waiting ones', async () => {
    await journal.append([disabling('j1')]);
    store.fail('withKeyLease', 'hang');
    const { result, ms } = await timed(trail.record([disabling('e1')]));
    expect(result).toBe('journal');
    expect(ms).toBeLessThan(2_300);
    store.heal();
    await until(async () => (await trail.pending()) === 0);
    expect((await stored()).map(([id]) => id)).toEqual(['j1', 'e1']);
  });

  it('without a journal: KW-AUDIT within 2 s', async () => {
    store.fail('appendAudit', 'hang');
    const { result, ms } = await timed(failure(new AuditTrail(store).record([disabling('e1')])));
    expect(result).toMatchObject({ code: 'KW-AUDIT' });
    expect(ms).toBeLessThan(2_300);
  });
});
