import type { Receipt } from '../../domain/approval';
import { isRevoked, type KeyRow } from '../../domain/keyRow';
import { SUBJECT_HASH, type ErasureRow } from '../../domain/erasure';
import { SUBJECT_ID } from '../../domain/subject';
import { GENESIS } from '../../domain/audit';
import { verifyTrail } from '../../stores/auditTrail';
import type { ColumnKey, Place, RewrappedPage, SetAside, Store, SubjectKey } from '../../stores/store';
import { collect, disabling, failure } from './entries';

/** What every adapter of the port must do. `open` gives a store on an empty, migrated database of its own; calling the returned `again` opens the same database once more. */
export function storeContract(name: string, open: () => Promise<{ store: Store; again: () => Promise<Store>; done: () => Promise<void> }>): void {
  describe(`${name} keeps the store contract`, () => {
    let store: Store;
    let other: Store;
    let done: () => Promise<void>;

    beforeEach(async () => {
      const opened = await open();
      store = opened.store;
      other = await opened.again();
      done = opened.done;
    });
    afterEach(async () => {
      await other.close();
      await store.close();
      await done();
    });

    describe('the database', () => {
      it('answers a ping, and migrates again without a change', async () => {
        await store.ping();
        expect(await store.migrate()).toBe(await other.migrate());
      });

      it('refuses calls after close with KW-STORE, and closes twice', async () => {
        await other.close();
        await other.close();
        expect(await failure(other.ping())).toMatchObject({ code: 'KW-STORE' });
      });
    });

    describe('rows of keys', () => {
      const fresh = (keyId: string): KeyRow => ({ keyId, purpose: 'user-data', epoch: 1 });
      const raise = (keyId: string) => (row: KeyRow | undefined) => ({ row: { ...(row ?? { keyId, purpose: 'user-data', epoch: 0 }), epoch: (row?.epoch ?? 0) + 1 }, result: row?.epoch ?? 0 });

      it('knows none at first', async () => {
        expect(await store.readKey('mrk-1')).toBeUndefined();
        expect(await store.listKeys()).toEqual([]);
      });

      it('writes what the change made, whole, and lists it', async () => {
        const row: KeyRow = {
          ...fresh('mrk-1'),
          canary: 'AQID',
          window: { procedure: { workflowId: 'w', firstRunId: 'r' }, mode: 'disable', revokedAt: '2026-01-05T09:00:00.000Z', deadline: '2026-01-12T09:00:00.000Z', snapshot: { 'eu-west-1': { keyArn: 'arn', state: 'Enabled', policy: '{"q":"\'—"}', policyDigest: 'd', grants: [], aliases: ['a'] } }, disabledIn: ['eu-west-1'], disabling: [] },
        };
        expect(await store.changeKey('mrk-1', () => ({ row, result: 'made' }))).toBe('made');
        expect(await other.readKey('mrk-1')).toEqual(row);
        await store.changeKey('mrk-0', () => ({ row: fresh('mrk-0'), result: 0 }));
        expect((await other.listKeys()).map((k) => k.keyId)).toEqual(['mrk-0', 'mrk-1']);
      });

      it('writes nothing when the change throws, and lets its error through', async () => {
        const refusal = new Error('refused by the rule');
        expect(await failure(store.changeKey('mrk-1', () => { throw refusal; }))).toBe(refusal);
        expect(await store.readKey('mrk-1')).toBeUndefined();
        // the lock is free again
        await other.changeKey('mrk-1', raise('mrk-1'));
      });

      it('loses no change when two change one row at once', async () => {
        await Promise.all(Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? store : other).changeKey('mrk-1', raise('mrk-1'))));
        expect((await store.readKey('mrk-1'))?.epoch).toBe(40);
      });

      it('never lowers an epoch (rule 5)', async () => {
        await store.changeKey('mrk-1', () => ({ row: { ...fresh('mrk-1'), epoch: 7 }, result: 0 }));
        expect(await failure(store.changeKey('mrk-1', () => ({ row: { ...fresh('mrk-1'), epoch: 6 }, result: 0 })))).toMatchObject({ code: 'KW-STORE' });
        expect((await store.readKey('mrk-1'))?.epoch).toBe(7);
      });

      it('refuses a change that makes the row of another key', async () => {
        expect(await failure(store.changeKey('mrk-1', () => ({ row: fresh('mrk-2'), result: 0 })))).toMatchObject({ code: 'KW-BUG' });
      });
    });

    describe('the lease of a key', () => {
      it('runs one at a time, and gives the result through', async () => {
        let inside = 0;
        let most = 0;
        const act = async (): Promise<number> => {
          most = Math.max(most, ++inside);
          await new Promise((r) => setTimeout(r, 20));
          return inside--;
        };
        const results = await Promise.all([store, other, store, other].map((s) => s.withKeyLease('mrk-1', { leaseMs: 10_000, waitMs: 5_000 }, act)));
        expect(most).toBe(1);
        expect(results).toEqual([1, 1, 1, 1]);
      });

      it('does not hold up another key', async () => {
        await store.withKeyLease('mrk-1', { leaseMs: 10_000, waitMs: 0 }, () => other.withKeyLease('mrk-2', { leaseMs: 10_000, waitMs: 0 }, async () => undefined));
      });

      it('gives up after waitMs with KW-STORE', async () => {
        await store.withKeyLease('mrk-1', { leaseMs: 10_000, waitMs: 0 }, async () => {
          const begun = Date.now();
          expect(await failure(other.withKeyLease('mrk-1', { leaseMs: 10_000, waitMs: 200 }, async () => undefined))).toMatchObject({ code: 'KW-STORE' });
          expect(Date.now() - begun).toBeLessThan(1_000);
        });
      });

      it('is free again when the act failed', async () => {
        expect(await failure(store.withKeyLease('mrk-1', { leaseMs: 10_000, waitMs: 0 }, async () => { throw new Error('act'); }))).toMatchObject({ message: 'act' });
        await other.withKeyLease('mrk-1', { leaseMs: 10_000, waitMs: 0 }, async () => undefined);
      });

      it('ends by itself, and its late owner does not end the next one', async () => {
        await store.withKeyLease('mrk-1', { leaseMs: 50, waitMs: 0 }, async () => {
          await new Promise((r) => setTimeout(r, 80));
          await new Promise<void>((taken, failed) => {
            void other.withKeyLease('mrk-1', { leaseMs: 10_000, waitMs: 500 }, async () => {
              taken();
              await new Promise((r) => setTimeout(r, 400));
            }).catch(failed);
          });
        });
        expect(await failure(store.withKeyLease('mrk-1', { leaseMs: 100, waitMs: 0 }, async () => undefined))).toMatchObject({ code: 'KW-STORE' });
        await store.withKeyLease('mrk-1', { leaseMs: 100, waitMs: 2_000 }, async () => undefined);
      });
    });

    describe('the audit trail', () => {
      it('is empty at first, and verifies', async () => {
        expect(await store.auditHead()).toBeUndefined();
        expect(await verifyTrail(store)).toEqual({ rows: 0, head: GENESIS });
        expect(await store.appendAudit([])).toEqual([]);
      });

      it('chains rows in the order given and gives the entries back as they were', async () => {
        const entries = [disabling('e1', { reason: 'key seen in a paste — "urgent"\n\u0000', detail: { regions: ['eu-west-1'], n: 3, ok: true, nothing: null } }), disabling('e2', { approvers: ['alice'] })];
        const rows = await store.appendAudit(entries);
        expect(rows.map((r) => r.seq)).toEqual([1, 2]);
        expect(rows[1]?.prev).toBe(rows[0]?.hash);
        expect(await collect(other.readAudit())).toEqual(rows);
        expect(rows.map((r) => r.entry)).toEqual(entries);
        expect(await other.auditHead()).toEqual({ seq: 2, hash: rows[1]?.hash });
        expect(await verifyTrail(other)).toEqual({ rows: 2, head: rows[1]?.hash });
      });

      it('writes an event once, and returns the row that stands, whatever the repeat says (rule 6)', async () => {
        const [first] = await store.appendAudit([disabling('e1')]);
        const rows = await other.appendAudit([disabling('e0'), disabling('e1', { reason: 'another' }), disabling('e0')]);
        expect(rows).toEqual([expect.objectContaining({ seq: 2 }), first, rows[0]]);
        expect((await verifyTrail(store)).rows).toBe(2);
      });

      it('stores nothing of a batch with an entry that cannot be hashed', async () => {
        expect(await failure(store.appendAudit([disabling('e1'), disabling('e2', { detail: { seconds: 1.5 } })]))).toMatchObject({ code: 'KW-BUG' });
        expect(await store.auditHead()).toBeUndefined();
      });

      it('takes a reason of 1 MB', async () => {
        await store.appendAudit([disabling('e1', { reason: 'ä'.repeat(500_000) })]);
        expect((await verifyTrail(store)).bad).toBeUndefined();
      });

      it('stays one chain when two append at once', async () => {
        await Promise.all(Array.from({ length: 60 }, (_, i) => (i % 2 === 0 ? store : other).appendAudit([disabling(`e${i}`), disabling(`f${i}`)])));
        expect(await verifyTrail(store)).toMatchObject({ rows: 120 });
      });

      it('filters by each field, by time and by place, and pages past 500 rows', async () => {
        const at = (i: number): string => new Date(Date.UTC(2026, 0, 5) + i * 1_000).toISOString();
        await store.appendAudit(Array.from({ length: 1_203 }, (_, i) => disabling(`e${i}`, { at: at(i), keyId: `mrk-${i % 2}`, workflowId: `w-${i % 3}`, ...(i % 4 === 0 ? { incident: 'INC-7' } : {}) })));
        const count = async (filter: Parameters<Store['readAudit']>[0]): Promise<number> => (await collect(store.readAudit(filter))).length;
        expect(await count(undefined)).toBe(1_203);
        expect(await count({ keyId: 'mrk-0' })).toBe(602);
        expect(await count({ workflowId: 'w-1' })).toBe(401);
        expect(await count({ incident: 'INC-7' })).toBe(301);
        expect(await count({ keyId: 'mrk-1', incident: 'INC-7' })).toBe(0);
        expect(await count({ after: 1_200 })).toBe(3);
        expect(await count({ from: at(100), to: at(1_100) })).toBe(1_000);
        expect((await collect(store.readAudit({ from: at(1_202) }))).map((r) => r.seq)).toEqual([1_203]);
        expect(await count({ keyId: "x' OR 1=1 --" })).toBe(0);
      });

      it('may be left in the middle of reading', async () => {
        await store.appendAudit(Array.from({ length: 10 }, (_, i) => disabling(`e${i}`)));
        for await (const _row of store.readAudit()) break;
        await store.appendAudit([disabling('after')]);
      });
    });

    describe('proofs', () => {
      const use = { jti: 'jti-0123456789abcdef', workflowId: 'w', firstRunId: 'r', planDigest: 'p', duty: 'emergency' };

      it('are used up once for one workflow, first run and plan (rule 5)', async () => {
        expect(await store.consumeProof(use)).toBe('consumed');
        expect(await other.consumeProof(use)).toBe('same');
        expect(await other.consumeProof({ ...use, workflowId: 'w2' })).toBe('used');
        expect(await other.consumeProof({ ...use, firstRunId: 'r2' })).toBe('used');
        expect(await other.consumeProof({ ...use, planDigest: 'p2' })).toBe('used');
        expect(await other.consumeProof(use)).toBe('same');
      });

      it('are used up by each duty for itself, never for something else', async () => {
        await store.consumeProof(use);
        expect(await store.consumeProof({ ...use, duty: 'recovery', workflowId: 'w2' })).toBe('used');
        expect(await store.consumeProof({ ...use, duty: 'recovery' })).toBe('consumed');
        expect(await store.consumeProof({ ...use, duty: 'recovery' })).toBe('same');
      });

      it('go to one of those who try at once', async () => {
        const answers = await Promise.all(Array.from({ length: 10 }, (_, i) => (i % 2 === 0 ? store : other).consumeProof({ ...use, workflowId: `w${i}` })));
        expect(answers.filter((a) => a === 'consumed')).toHaveLength(1);
        expect(answers.filter((a) => a === 'used')).toHaveLength(9);
      });
    });

    describe('receipts and plans', () => {
      const receipt: Receipt = { planDigest: 'p', person: 'alice', role: 'KeyRecoveryAdmin', decision: 'approve', jti: 'jti-1', workflowId: 'w', firstRunId: 'r', duty: 'recovery', keyId: 'mrk-1', epoch: 2, at: '2026-01-05T09:00:00.000Z' };

      it('come back in order, once each, for their workflow, run and duty only', async () => {
        await store.saveReceipt(receipt, 'mac-1');
        await store.saveReceipt({ ...receipt, jti: 'jti-0', person: 'bob' }, 'mac-2');
        await other.saveReceipt(receipt, 'mac-1');
        await store.saveReceipt({ ...receipt, duty: 'emergency' }, 'mac-3');
        expect(await other.receiptsFor('w', 'r', 'recovery')).toEqual([{ receipt, mac: 'mac-1' }, { receipt: { ...receipt, jti: 'jti-0', person: 'bob' }, mac: 'mac-2' }]);
        expect(await store.receiptsFor('w', 'r2', 'recovery')).toEqual([]);
      });

      it('cannot be kept out by one with a forged MAC that came first', async () => {
        await store.saveReceipt({ ...receipt, person: 'mallory' }, 'forged');
        await store.saveReceipt(receipt, 'mac-1');
        expect((await store.receiptsFor('w', 'r', 'recovery')).map((r) => r.mac)).toEqual(['forged', 'mac-1']);
      });

      it('keep the first plan of a digest', async () => {
        expect(await store.readPlan('d')).toBeUndefined();
        await store.savePlan('d', '{"v":1}');
        await other.savePlan('d', '{"v":1}');
        await other.savePlan('d', '{"v":2}');
        expect(await other.readPlan('d')).toBe('{"v":1}');
      });
    });

    describe('what applications are told of the keys', () => {
      const window = (outcome?: 'recovered' | 'disabled' | 'destroyed') => ({ procedure: { workflowId: 'w', firstRunId: 'r' }, mode: 'disable' as const, revokedAt: '2026-01-05T09:00:00.000Z', deadline: '2026-01-12T09:00:00.000Z', snapshot: {}, disabledIn: [], disabling: [], ...(outcome === undefined ? {} : { outcome }) });

      it('is each key of their purposes, its epoch, and whether it is revoked, as the row says', async () => {
        const rows: KeyRow[] = [
          { keyId: 'mrk-1', purpose: 'user-data', epoch: 0 },
          { keyId: 'mrk-2', purpose: 'user-data', epoch: 3, window: window() },
          { keyId: 'mrk-3', purpose: 'payment-data', epoch: 4, window: window('recovered') },
          { keyId: 'mrk-4', purpose: 'payment-data', epoch: 5, window: window('disabled') },
          { keyId: 'mrk-5', purpose: 'payment-data', epoch: 6, window: window('destroyed'), destroyedAt: '2026-01-12T09:00:00.000Z' },
          { keyId: 'mrk-6', purpose: 'audit-data', epoch: 1 },
        ];
        for (const row of rows) await store.changeKey(row.keyId, () => ({ row, result: 0 }));
        const marks = await other.keyMarks(['user-data', 'payment-data', "x' OR 1=1 --"]);
        expect(marks.sort((a, b) => (a.keyId < b.keyId ? -1 : 1))).toEqual(rows.slice(0, 5).map((r) => ({ keyId: r.keyId, purpose: r.purpose, epoch: r.epoch, revoked: isRevoked(r) })));
        expect(await other.keyMarks([])).toEqual([]);
      });

      it('is all of them, past one page', async () => {
        for (let i = 0; i < 520; i++) await store.changeKey(`mrk-${i}`, () => ({ row: { keyId: `mrk-${i}`, purpose: i % 2 === 0 ? 'user-data' : 'payment-data', epoch: i }, result: 0 }));
        const marks = await other.keyMarks(['user-data', 'payment-data']);
        expect(new Set(marks.map((m) => `${m.keyId} ${m.epoch}`)).size).toBe(520);
        expect(marks).toHaveLength(520);
      });
    });

    describe('consumers', () => {
      const consumer = (consumerId: string, purposes = ['user-data']) => ({ consumerId, purposes, drainsWithinMs: 335_000 });

      it('are told by purpose, each with what it acknowledged of the key and how long ago', async () => {
        await store.saveConsumer(consumer('a', ['user-data', 'payment-data']), [{ keyId: 'mrk-1', epoch: 2 }, { keyId: 'mrk-2', epoch: 9 }]);
        await store.saveConsumer(consumer('b'), []);
        await store.saveConsumer(consumer('c', ['payment-data']), []);
        await new Promise((r) => setTimeout(r, 60));
        const [a, b, ...more] = await other.consumersOf('user-data', 'mrk-1');
        expect(more).toEqual([]);
        expect(a).toEqual({ consumerId: 'a', drainsWithinMs: 335_000, lastSeenMsAgo: expect.any(Number), acknowledged: { epoch: 2, msAgo: expect.any(Number) } });
        expect(a!.lastSeenMsAgo).toBeGreaterThanOrEqual(50);
        expect(b).toEqual({ consumerId: 'b', drainsWithinMs: 335_000, lastSeenMsAgo: expect.any(Number) });
      });

      it('keep the first moment at an epoch, go on to a higher one, and never back', async () => {
        await store.saveConsumer(consumer('a'), [{ keyId: 'mrk-1', epoch: 2 }]);
        await new Promise((r) => setTimeout(r, 80));
        for (const epoch of [2, 1]) await other.saveConsumer(consumer('a'), [{ keyId: 'mrk-1', epoch }]);
        const [again] = await store.consumersOf('user-data', 'mrk-1');
        expect(again!.acknowledged).toMatchObject({ epoch: 2 });
        expect(again!.acknowledged!.msAgo).toBeGreaterThanOrEqual(70);
        expect(again!.lastSeenMsAgo).toBeLessThan(70);
        await other.saveConsumer(consumer('a'), [{ keyId: 'mrk-1', epoch: 3 }]);
        expect((await store.consumersOf('user-data', 'mrk-1'))[0]!.acknowledged!.epoch).toBe(3);
      });

      it('say that they have opened the canary of a CMK that is introduced, which moves neither epoch nor moment', async () => {
        for (const [phase, introduced] of [['overlap', true], ['sign-off', true], ['committed', false], ['rolled-back', false]] as const) {
          await store.changeKey('mrk-9', () => ({ row: { keyId: 'mrk-9', purpose: 'user-data', epoch: 0, replaces: { keyId: 'mrk-1', workflowId: 'w', firstRunId: 'r', phase } }, result: 0 }));
          expect(await other.keyMarks(['user-data'])).toEqual([{ keyId: 'mrk-9', purpose: 'user-data', epoch: 0, revoked: false, ...(introduced ? { introduced } : {}) }]);
        }
        await store.saveConsumer(consumer('a'), [{ keyId: 'mrk-9', epoch: 2 }]);
        await new Promise((r) => setTimeout(r, 80));
        await other.saveConsumer(consumer('a'), [{ keyId: 'mrk-9', epoch: 1, opened: true }]);
        await store.saveConsumer(consumer('a'), [{ keyId: 'mrk-9', epoch: 2 }]);
        const { acknowledged } = (await store.consumersOf('user-data', 'mrk-9'))[0]!;
        expect(acknowledged).toMatchObject({ epoch: 2, opened: true });
        expect(acknowledged!.msAgo).toBeGreaterThanOrEqual(70);
      });

      it('that said goodbye are gone, with what they acknowledged', async () => {
        await store.saveConsumer(consumer('a'), [{ keyId: 'mrk-1', epoch: 2 }]);
        await other.removeConsumer('a');
        await other.removeConsumer('a');
        expect(await store.consumersOf('user-data', 'mrk-1')).toEqual([]);
        await store.saveConsumer(consumer('a'), []);
        expect((await store.consumersOf('user-data', 'mrk-1'))[0]!.acknowledged).toBeUndefined();
      });
    });

    describe('erasures', () => {
      const key: SubjectKey = { subjectId: 'user-1', purpose: 'user-data', encryptedKey: 'AQID', keyId: 'mrk-1', keyArn: 'arn:aws:kms:eu-west-1:111122223333:key/mrk-1', createdAt: '2026-01-05T09:00:00.000Z' };
      const procedure = { workflowId: 'w', firstRunId: 'r' };
      const become = (subjectHash: string, change: Partial<ErasureRow>) => store.changeErasure(subjectHash, (row, keys) => ({ row: { ...row!, procedure, ...change }, result: keys }));
      const stateOf = async (purpose = 'user-data'): Promise<string | undefined> => {
        const row = await other.readSubjectKey('user-1', purpose);
        return row === undefined ? undefined : (row.state ?? 'active');
      };
      let subjectHash: string;

      beforeEach(async () => {
        for (const k of [key, { ...key, purpose: 'payment-data', keyId: 'mrk-2' }, { ...key, subjectId: 'user-2' }]) await store.putSubjectKey(k);
        subjectHash = await store.requestErasure('user-1');
      });

      it('hashes alike everywhere, differently for each subject, and never in a form that an id may have', async () => {
        expect(await other.hashSubject('user-1')).toBe(subjectHash);
        expect(subjectHash).toMatch(SUBJECT_HASH);
        expect(SUBJECT_ID.test(subjectHash)).toBe(false);
        expect(await store.hashSubject('user-2')).not.toBe(subjectHash);
      });

      it('keeps a request, once', async () => {
        expect(await store.readErasure(subjectHash)).toEqual({ subjectHash, subjectId: 'user-1', state: 'requested', round: 1 });
        await other.requestErasure('user-1');
        expect((await store.readErasure(subjectHash))?.round).toBe(1);
        expect(await store.readErasure('subject-00000000000000000000000000000000')).toBeUndefined();
      });

      it("the subject's keys follow the state: withheld, given back, gone, and nobody else's do", async () => {
        expect(await become(subjectHash, { state: 'erasing' })).toEqual([{ purpose: 'payment-data', keyId: 'mrk-2' }, { purpose: 'user-data', keyId: 'mrk-1' }]);
        expect([await stateOf(), await stateOf('payment-data')]).toEqual(['erasing', 'erasing']);
        // they still depend on the CMK, and a rotation re-wraps them: a rejection must be able to give them back
        expect((await store.countWrapped('mrk-1')).subjectKeys).toBe(2);
        expect((await store.readStale({ keyId: 'mrk-1', material: 'f'.repeat(64), limit: 10 })).map((k) => k.subjectId)).toEqual(['user-1', 'user-2']);
        await become(subjectHash, { state: 'restored' });
        expect([await stateOf(), (await store.readErasure(subjectHash))?.subjectId]).toEqual(['active', undefined]);
        await store.requestErasure('user-1');
        expect((await store.readErasure(subjectHash))?.round).toBe(2); // what was signed for the first has lapsed (rule 5)
        await become(subjectHash, { state: 'erasing' });
        await become(subjectHash, { state: 'deleted', deletedAt: '2026-02-01T00:00:00.000Z' });
        expect([await stateOf(), await stateOf('payment-data')]).toEqual([undefined, undefined]);
        expect((await store.readErasure(subjectHash))?.subjectId).toBeUndefined();
        expect((await other.readSubjectKey('user-2', 'user-data'))?.state).toBeUndefined();
      });

      it('deletes no key that was made after the deletion, and gives a tombstone no name again', async () => {
        await become(subjectHash, { state: 'deleted', deletedAt: '2026-01-05T08:59:59.999Z' });
        expect(await stateOf()).toBe('active');
        await store.requestErasure('user-1');
        expect(await store.readErasure(subjectHash)).toMatchObject({ state: 'deleted', round: 1 });
        expect((await store.readErasure(subjectHash))?.subjectId).toBeUndefined();
      });

      it('takes no id that does not fit the hash, and writes nothing when the change throws', async () => {
        expect(await failure(become(subjectHash, { state: 'deleted', subjectId: 'user-2', deletedAt: '2999' }))).toMatchObject({ code: 'KW-BUG' });
        const refusal = new Error('refused by the rule');
        expect(await failure(store.changeErasure(subjectHash, () => { throw refusal; }))).toBe(refusal);
        expect([await stateOf(), (await store.readErasure(subjectHash))?.state]).toEqual(['active', 'requested']);
      });

      it('makes no key for whoever is being erased; after the proof it does', async () => {
        await become(subjectHash, { state: 'erasing' });
        expect(await failure(other.putSubjectKey({ ...key, purpose: 'new' }))).toMatchObject({ code: 'KW-SUBJECT-ERASED' });
        await become(subjectHash, { state: 'deleted', deletedAt: '2026-02-01T00:00:00.000Z' });
        expect(await failure(other.putSubjectKey(key))).toMatchObject({ code: 'KW-SUBJECT-ERASED' });
        await become(subjectHash, { state: 'proven' });
        await other.putSubjectKey(key);
        expect(await stateOf()).toBe('active');
      });

      it('tells whose erasure has begun since, and nobody twice', async () => {
        const { seq, subjectIds } = await other.erasuresSince(undefined);
        expect(subjectIds).toEqual([]);
        await become(subjectHash, { state: 'erasing' });
        const next = await other.erasuresSince(seq);
        expect(next.subjectIds).toEqual(['user-1']);
        expect(await other.erasuresSince(next.seq)).toEqual({ seq: next.seq, subjectIds: [] });
        await become(subjectHash, { state: 'restored' });
        expect((await other.erasuresSince(next.seq)).subjectIds).toEqual([]);
        // more than one page of them
        for (let i = 0; i < 510; i++) await store.changeErasure(await store.requestErasure(`many-${i}`), (row) => ({ row: { ...row!, state: 'erasing', procedure }, result: 0 }));
        expect((await other.erasuresSince(next.seq)).subjectIds.length).toBe(510);
      });

      it('lists subjects in pages with their hashes, each once, as far as they have a key made until then', async () => {
        await store.putSubjectKey({ ...key, subjectId: 'user-3', createdAt: '2026-03-01T00:00:00.000Z' });
        const until = { createdUntil: '2026-02-01T00:00:00.000Z' };
        expect(await store.listSubjects({ ...until, limit: 1 })).toEqual([{ subjectId: 'user-1', subjectHash }]);
        expect((await store.listSubjects({ ...until, after: 'user-1', limit: 10 })).map((s) => s.subjectId)).toEqual(['user-2']);
      });
    });

    describe('subject keys', () => {
      const key: SubjectKey = { subjectId: 'user-1', purpose: 'user-data', encryptedKey: 'AQID', keyId: 'mrk-1', keyArn: 'arn:aws:kms:eu-west-1:111122223333:key/mrk-1', createdAt: '2026-01-05T09:00:00.000Z' };

      it('keep the first, and answer it', async () => {
        expect(await store.readSubjectKey('user-1', 'user-data')).toBeUndefined();
        expect(await store.putSubjectKey(key)).toEqual(key);
        expect(await other.putSubjectKey({ ...key, encryptedKey: 'BBBB', keyMaterialId: 'aa' })).toEqual(key);
        expect(await other.readSubjectKey('user-1', 'user-data')).toEqual(key);
        expect(await store.putSubjectKey({ ...key, purpose: 'payment-data', keyMaterialId: 'aa' })).toMatchObject({ keyMaterialId: 'aa' });
      });

      it('are counted under their CMK', async () => {
        await store.putSubjectKey(key);
        await store.putSubjectKey({ ...key, subjectId: 'user-2' });
        await store.putSubjectKey({ ...key, subjectId: 'user-3', keyId: 'mrk-2' });
        expect(await store.countWrapped('mrk-1')).toEqual({ columnKeyValues: 0, subjectKeys: 2 });
        expect(await store.countWrapped('mrk-9')).toEqual({ columnKeyValues: 0, subjectKeys: 0 });
      });
    });

    describe('pages of a re-wrap', () => {
      const OLD = 'a'.repeat(64);
      const NEW = 'b'.repeat(64);
      const OTHER = 'c'.repeat(64);
      const at = '2026-01-05T09:00:00.000Z';
      const subject = (subjectId: string, more: Partial<SubjectKey> = {}): SubjectKey => ({ subjectId, purpose: 'user-data', encryptedKey: `old-${subjectId}`, keyId: 'mrk-1', keyArn: 'arn:aws:kms:eu-west-1:111122223333:key/mrk-1', keyMaterialId: OLD, createdAt: at, ...more });
      const ids = (keys: readonly SubjectKey[]): string[] => keys.map((k) => k.subjectId);
      const page = (keys: readonly SubjectKey[], more: Partial<RewrappedPage> = {}): RewrappedPage => ({
        keyId: 'mrk-1',
        rewrapped: keys.map((k) => ({ subjectId: k.subjectId, purpose: k.purpose, before: k.encryptedKey, after: `new-${k.subjectId}`, keyMaterialId: NEW })),
        setAside: [],
        audit: ({ rewrapped, changed, setAside }) => disabling(`page-${keys[0]?.subjectId ?? ''}`, { action: 'RewrapKeys', detail: { rewrapped, changed, setAside } }),
        ...more,
      });
      const poisoned = (k: SubjectKey): SetAside => ({ keyId: 'mrk-1', kind: 'subject', purpose: k.purpose, id: k.subjectId, encryptedKey: k.encryptedKey, code: 'InvalidCiphertextException', at, workflowId: 'w' });
      const put = async (...keys: SubjectKey[]): Promise<SubjectKey[]> => {
        for (const k of keys) await store.putSubjectKey(k);
        return keys;
      };
      const stale = (more: Partial<Parameters<Store['readStale']>[0]> = {}): Promise<SubjectKey[]> => store.readStale({ keyId: 'mrk-1', material: NEW, limit: 100, ...more });
      const place = (k: SubjectKey): Place => ({ material: k.keyMaterialId ?? '', purpose: k.purpose, subjectId: k.subjectId });

      it('hold what stands on any other material, in one order, and nothing else', async () => {
        const { keyMaterialId: _unknown, ...unknown } = subject('u9');
        await put(subject('u2'), subject('u1'), subject('u3', { keyMaterialId: NEW }), subject('u4', { keyMaterialId: OTHER }), unknown, subject('u5', { keyId: 'mrk-2' }), subject('u6', { purpose: 'payment-data' }));
        expect(ids(await stale())).toEqual(['u9', 'u6', 'u1', 'u2', 'u4']);
        expect(await store.countStale('mrk-1', NEW)).toEqual({ stale: 5, setAside: 0 });
        expect(ids(await stale({ limit: 2 }))).toEqual(['u9', 'u6']);
        expect(ids(await stale({ after: place(subject('u1')) }))).toEqual(['u2', 'u4']);
        expect(ids(await stale({ after: place(unknown), upTo: place(subject('u1')) }))).toEqual(['u6', 'u1']);
      });

      it('are cut into stretches that cover it all and do not overlap', async () => {
        await put(...Array.from({ length: 25 }, (_, i) => subject(`u${String(i).padStart(2, '0')}`, i < 20 ? {} : { keyMaterialId: OTHER })));
        const ends = await store.staleStretches({ keyId: 'mrk-1', material: NEW, size: 10, count: 9 });
        expect(ends.map((e) => e.subjectId)).toEqual(['u09', 'u19', 'u24']);
        const covered = await Promise.all(ends.map((upTo, i) => stale({ after: ends[i - 1], upTo })));
        expect(ids(covered.flat())).toEqual(ids(await stale()));
        expect(await store.staleStretches({ keyId: 'mrk-1', material: NEW, size: 10, count: 2, after: ends[1] })).toEqual([ends[2]]);
        expect(await store.staleStretches({ keyId: 'mrk-1', material: NEW, size: 10, count: 2, after: ends[2] })).toEqual([]);
      });

      it('are written whole, with their audit row', async () => {
        const keys = await put(subject('u1'), subject('u2'));
        expect(await store.writePage(page(keys))).toEqual({ rewrapped: 2, changed: 0, setAside: 0 });
        expect(await other.readSubjectKey('u1', 'user-data')).toEqual({ ...keys[0], encryptedKey: 'new-u1', keyMaterialId: NEW });
        expect(await stale()).toEqual([]);
        expect((await collect(other.readAudit())).map((r) => r.entry.detail)).toEqual([{ rewrapped: 2, changed: 0, setAside: 0 }]);
        expect((await verifyTrail(store)).bad).toBeUndefined();
      });

      it('write nothing at all when their audit row cannot be written (rule 3)', async () => {
        const keys = await put(subject('u1'));
        expect(await failure(store.writePage(page(keys, { audit: () => disabling('page', { detail: { seconds: 1.5 } }) })))).toMatchObject({ code: 'KW-BUG' });
        expect(await store.readSubjectKey('u1', 'user-data')).toEqual(keys[0]);
        expect(await store.auditHead()).toBeUndefined();
      });

      it('leave a key alone that was changed, moved or deleted since it was read', async () => {
        const keys = await put(subject('u1'), subject('u2'), subject('u3', { keyId: 'mrk-2' }));
        const read = [{ ...keys[0]!, encryptedKey: 'as it was read' }, keys[1]!, keys[2]!, subject('gone')];
        expect(await store.writePage(page(read))).toEqual({ rewrapped: 1, changed: 3, setAside: 0 });
        expect(await store.readSubjectKey('u1', 'user-data')).toEqual(keys[0]);
        expect(await store.readSubjectKey('u3', 'user-data')).toEqual(keys[2]);
        expect(await store.readSubjectKey('gone', 'user-data')).toBeUndefined();
        expect(ids(await stale())).toEqual(['u1']);
      });

      it('set a key aside that does not open, until it has changed', async () => {
        const keys = await put(subject('u1'), subject('u2'));
        expect(await store.writePage(page([keys[0]!], { setAside: [poisoned(keys[1]!), poisoned({ ...keys[1]!, encryptedKey: 'as it was read' })] }))).toEqual({ rewrapped: 1, changed: 1, setAside: 1 });
        expect(await stale()).toEqual([]);
        expect(await store.countStale('mrk-1', NEW)).toEqual({ stale: 1, setAside: 1 });
        expect(await other.readSetAside('mrk-1', { limit: 10 })).toEqual([poisoned(keys[1]!)]);
        const mended = { ...keys[1]!, encryptedKey: 'mended' };
        expect(await store.writePage({ ...page([]), rewrapped: [{ subjectId: 'u2', purpose: 'user-data', before: keys[1]!.encryptedKey, after: mended.encryptedKey, keyMaterialId: OLD }], audit: () => disabling('mended') })).toMatchObject({ rewrapped: 1 });
        expect(await stale()).toEqual([mended]);
        expect(await store.readSetAside('mrk-1', { limit: 10 })).toEqual([]);
      });

      it('keep what they were under the old CMK until that is settled, one way or the other', async () => {
        const to = { keyId: 'mrk-9', keyArn: 'arn:aws:kms:eu-west-1:111122223333:key/mrk-9' };
        const keys = await put(...Array.from({ length: 5 }, (_, i) => subject(`u${i}`)), subject('unknown', { keyMaterialId: undefined as never }));
        expect(await store.writePage({ ...page(keys), to })).toEqual({ rewrapped: 6, changed: 0, setAside: 0 });
        const { encryptedKey, keyId, keyArn, keyMaterialId } = keys[0]!;
        expect(await other.readSubjectKey('u0', 'user-data')).toEqual({ ...keys[0], ...to, encryptedKey: 'new-u0', keyMaterialId: NEW, previous: { encryptedKey, keyId, keyArn, keyMaterialId } });
        expect([await store.countWrapped('mrk-1'), await store.countWrapped('mrk-9')]).toMatchObject([{ subjectKeys: 6 }, { subjectKeys: 6 }]);
        expect((await store.sampleSubjectKeys('mrk-9', 200)).every((k) => k.keyId === 'mrk-9')).toBe(true);
        expect((await store.sampleSubjectKeys('mrk-9', 200)).length).toBeGreaterThan(1);
        expect(await store.sampleSubjectKeys('mrk-1', 200)).toEqual([]);
        let n = 0;
        const settle = (how: 'restore' | 'drop', limit: number): Promise<number> => store.settlePrevious({ how, keyId: 'mrk-9', previousKeyId: 'mrk-1', limit, audit: (count) => disabling(`settled-${n++}`, { detail: { count } }) });
        expect([await settle('restore', 4), await settle('drop', 4), await settle('drop', 4)]).toEqual([4, 2, 0]);
        const after = await Promise.all(keys.map((k) => other.readSubjectKey(k.subjectId, k.purpose)));
        expect(after.filter((k) => k!.keyId === 'mrk-1')).toHaveLength(4);
        for (const [i, k] of after.entries()) expect(k).toEqual(k!.keyId === 'mrk-1' ? keys[i] : { ...keys[i], ...to, encryptedKey: `new-${k!.subjectId}`, keyMaterialId: NEW });
        expect((await collect(other.readAudit())).flatMap((r) => (r.entry.eventId.startsWith('settled') ? [r.entry.detail] : []))).toEqual([{ count: 4 }, { count: 2 }]);
      });

      it('lose no key when two write the same page', async () => {
        const keys = await put(...Array.from({ length: 60 }, (_, i) => subject(`u${i}`)));
        const counts = await Promise.all([store, other].map((s, i) => s.writePage({ ...page(keys), audit: () => disabling(`page-${i}`) })));
        expect(counts.map((c) => c.rewrapped).sort()).toEqual([0, 60]);
        expect(counts.map((c) => c.changed).sort()).toEqual([0, 60]);
      });
    });

    describe('column encryption keys', () => {
      const path = 'arn:aws:kms:eu-west-1:111122223333:key/mrk-1';
      const value = (masterKey: string, text = 'AQID'): ColumnKey['values'][number] => ({ masterKey, value: text, keyId: 'mrk-1' });
      const audit = disabling('column-key');
      const cek: ColumnKey = { name: 'CEK_1', purpose: 'user-data', values: [value('CMK_a')] };

      it('keep the first, are listed under their CMK and counted', async () => {
        expect(await store.putColumnKey(cek, path)).toEqual(cek);
        expect(await other.putColumnKey({ ...cek, values: [value('CMK_b', 'BBBB')] }, path)).toEqual(cek);
        await store.putColumnKey({ ...cek, name: 'CEK_2' }, path);
        expect((await store.listColumnKeys('mrk-1', { limit: 1 })).map((k) => k.name)).toEqual(['CEK_1']);
        expect((await store.listColumnKeys('mrk-1', { after: 'CEK_1', limit: 9 })).map((k) => k.name)).toEqual(['CEK_2']);
        expect(await store.listColumnKeys('mrk-2', { limit: 9 })).toEqual([]);
        expect(await store.countWrapped('mrk-1')).toEqual({ columnKeyValues: 2, subjectKeys: 0 });
      });

      it('take a second value and never a third', async () => {
        await store.putColumnKey(cek, path);
        expect(await store.changeColumnKey(cek, { add: { ...value('CMK_b'), path }, audit })).toBe('done');
        const two = (await other.readColumnKey('CEK_1'))!;
        expect(two.values.map((v) => v.masterKey)).toEqual(['CMK_a', 'CMK_b']);
        expect(await failure(store.changeColumnKey(two, { add: { ...value('CMK_c'), path }, audit }))).toMatchObject({ code: 'KW-STORE' });
        expect(await store.changeColumnKey(two, { drop: 'CMK_a', audit })).toBe('done');
        expect((await other.readColumnKey('CEK_1'))!.values).toEqual([value('CMK_b')]);
        expect(await collect(store.readAudit())).toHaveLength(1);
      });

      it('are left as they are when somebody else changed them since', async () => {
        await store.putColumnKey(cek, path);
        await other.changeColumnKey(cek, { add: { ...value('CMK_b'), path }, audit });
        expect(await store.changeColumnKey(cek, { drop: 'CMK_a', audit })).toBe('changed');
        expect(await store.changeColumnKey({ ...cek, name: 'CEK_9' }, { drop: 'CMK_a', audit })).toBe('changed');
        expect((await store.readColumnKey('CEK_1'))!.values).toHaveLength(2);
        expect((await collect(store.readAudit())).map((r) => r.entry.eventId)).toEqual(['column-key']);
      });

      it('can be set aside, and are no more when they have changed', async () => {
        await store.putColumnKey(cek, path);
        const aside: SetAside = { keyId: 'mrk-1', kind: 'cek', purpose: 'user-data', id: 'CEK_1', encryptedKey: 'AQID', code: 'KW-WRAPPED-KEY', at: '2026-01-05T09:00:00.000Z', workflowId: 'w' };
        await store.setColumnKeyAside(aside);
        expect(await other.readSetAside('mrk-1', { limit: 9 })).toEqual([aside]);
        await store.changeColumnKey(cek, { add: { ...value('CMK_b', 'BBBB'), path }, drop: 'CMK_a', audit });
        expect(await store.readSetAside('mrk-1', { limit: 9 })).toEqual([]);
      });
    });

    describe('a shared rate', () => {
      it('gives nothing away twice when two take at once', async () => {
        const took = await Promise.all(Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? store : other).changeBucket('us-east-1', (b) => ({ bucket: { until: (b?.until ?? 0) + 10, share: 1, slowedAt: 0 }, result: b?.until ?? 0 }))));
        expect([...took].sort((a, b) => a - b)).toEqual(Array.from({ length: 40 }, (_, i) => i * 10));
        expect(await store.changeBucket('another', (b, now) => ({ bucket: { until: now, share: 1, slowedAt: 0 }, result: b }))).toBeUndefined();
      });
    });
  });
}
