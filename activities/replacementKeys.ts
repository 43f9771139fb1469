import { heartbeat } from '@temporalio/activity';
import type { ReplacementActivities } from '../domain/activities';
import { unpackValue } from '../domain/columnKey';
import { columnKeyContext, subjectContext } from '../domain/encryptionContext';
import { KeywardenError } from '../domain/errors';
import { rotationOf, same, type KeyRow, type ProcedureRef } from '../domain/keyRow';
import type { ColumnKey, ColumnKeyValue } from '../stores/store';
import type { Deps } from './deps';
import { entry, execution } from './execution';
import type { RegionalKms } from './kms';
import { rotationTarget } from './materials';
import { Mover } from './mover';
import type { Pacer } from './pacer';
import { held, intend, NO_MATERIAL, type Held } from './rewrapping';

type Acts = Pick<ReplacementActivities, 'verifyReplacement' | 'openedBy' | 'settleReplacement'>;

/** Subject keys opened under the new CMK before a person is asked: were one in a hundred unreadable, this many would find it with 95 %. */
const SAMPLE = 300;
const PAGE = 100;
/** Histories stay small however many processes there are. */
const NAMED = 20;

/** What stands under the old and the new CMK of a replacement, for the routine duty: verified, asked of applications, settled one way or the other. */
export function replacementKeyActivities(deps: Deps, pacerOf: (kms: RegionalKms) => Pacer): Acts {
  return {
    async verifyReplacement(a) {
      const mine = await held(deps, a.keyId);
      const to = mine.to;
      if (to === undefined) throw new KeywardenError('KW-APPROVAL-PLAN', 'this rotation stays in its CMK', { key: a.keyId, notDone: 'nothing was verified', next: 'verify it in place' });
      const { stale, setAside } = await deps.store.countStale(mine.keyId, NO_MATERIAL);
      const aside = (await deps.store.readSetAside(mine.keyId, { limit: 1_000 })).filter((s) => s.kind === 'cek').length;
      const { kms } = await rotationTarget(deps, a.keyId);
      const mover = new Mover(deps, mine, kms, pacerOf(kms));
      const opens = async (encryptedKey: string, context: Record<string, string>): Promise<boolean> => !('poison' in (await mover.move(encryptedKey, context as never, to.keyId)));
      let ceks = 0;
      let columnKeys = 0;
      const broken: string[] = [];
      for await (const key of columnKeysOf(deps, mine.keyId)) {
        const value = key.values.find((v) => v.keyId === to.keyId);
        if (value === undefined) ceks++;
        else if (await opens(wrappedIn(value), columnKeyContext(deps.config, mine.purpose, key.name))) columnKeys++;
        else broken.push(key.name);
        heartbeat();
      }
      const sample = await deps.store.sampleSubjectKeys(to.keyId, SAMPLE);
      for (const key of sample) {
        if (!(await opens(key.encryptedKey, subjectContext(deps.config, key.purpose, key.subjectId)))) broken.push(`a subject key of ${key.purpose}`);
        heartbeat();
      }
      if (broken.length > 0) throw new KeywardenError('KW-WRAPPED-KEY', `${broken.length} do not open under the new CMK: ${[...new Set(broken)].slice(0, 5).join(', ')}`, { key: mine.keyId, notDone: 'nobody was asked to sign the cutover', next: 'everything is taken back; find out who wrote them' });
      const left = stale - setAside + Math.max(0, ceks - aside);
      const all = left + setAside + aside === 0;
      if (all) {
        await deps.store.changeKey(to.keyId, (row) => ({ row: row!.replaces?.phase === 'overlap' && same(row!.replaces, mine.e) ? { ...row!, replaces: { ...row!.replaces, phase: 'sign-off' } } : row!, result: undefined }));
        await deps.trail.record([entry(deps, mine.e, { action: 'VerifyReplacement', phase: 'done', keyId: mine.keyId, detail: { to: to.keyId, columnKeys, sampled: sample.length } })]);
      }
      return { left, setAside: setAside + aside, subjectKeys: (await deps.store.countWrapped(to.keyId)).subjectKeys, columnKeys, sampled: sample.length };
    },

    async openedBy(a) {
      const e = await execution(deps);
      const row = await deps.store.readKey(a.keyId);
      const { to } = rotationOf(row, a.keyId, e);
      if (to === undefined) throw new KeywardenError('KW-NOT-YET', 'the new CMK is not there yet', { key: a.keyId, notDone: 'nobody was asked', next: 'it is looked at again' });
      // a process that has not been seen for as long as it holds keys is gone
      const there = (await deps.store.consumersOf(row!.purpose, to)).filter((c) => c.lastSeenMsAgo < c.drainsWithinMs);
      const waiting = there.filter((c) => c.acknowledged?.opened !== true);
      return { total: there.length, waitingCount: waiting.length, waiting: waiting.slice(0, NAMED).map((c) => ({ consumerId: c.consumerId.slice(0, 200), lastSeenMsAgo: c.lastSeenMsAgo })) };
    },

    async settleReplacement(a) {
      const e = await execution(deps);
      const next = await replacementOf(deps, a.keyId, e);
      // which way is what the new CMK's row says, never what the workflow says
      const phase = next?.replaces?.phase;
      if (next === undefined || (phase !== 'committed' && phase !== 'rolled-back')) throw new KeywardenError('KW-NOT-YET', 'the replacement is neither signed nor taken back', { key: a.keyId, notDone: 'nothing was dropped', next: 'it is tried again' });
      const mine: Held = { e, keyId: a.keyId, purpose: next.purpose, material: NO_MATERIAL, to: { keyId: next.keyId, keyArn: '' } };
      const how = phase === 'committed' ? 'drop' : 'restore';
      const columnKeys = how === 'drop' ? await dropColumnValues(deps, mine, a.keyId, next.keyId, await openerOf(deps, mine, pacerOf)) : await dropColumnValues(deps, mine, next.keyId, a.keyId);
      const action = how === 'drop' ? 'DropPreviousKeys' : 'RestorePreviousKeys';
      let subjectKeys = 0;
      for (let page = 0; ; page++) {
        if (page === 0) await intend(deps, mine, action);
        const occasion = `${subjectKeys}/${Date.now()}`;
        const done = await deps.store.settlePrevious({ how, keyId: next.keyId, previousKeyId: a.keyId, limit: deps.config.rewrap.pageKeys, audit: (count) => entry(deps, e, { action, phase: 'done', keyId: a.keyId, occasion, detail: { count, replacement: next.keyId } }) });
        if (done === 0) break;
        subjectKeys += done;
        heartbeat({ subjectKeys });
      }
      return { how, subjectKeys, columnKeys };
    },
  };
}

/** The new CMK that this very procedure made, or went on with, in place of a CMK. */
export async function replacementOf(deps: Pick<Deps, 'store'>, keyId: string, e: ProcedureRef): Promise<KeyRow | undefined> {
  const to = (await deps.store.readKey(keyId))?.rotation?.to;
  const row = to === undefined ? undefined : await deps.store.readKey(to);
  const is = (r: KeyRow | undefined): boolean => r?.replaces !== undefined && r.replaces.keyId === keyId && same(r.replaces, e);
  // a revocation takes the old key's claim away
  return is(row) ? row : (await deps.store.listKeys()).find(is);
}

type Opens = (v: ColumnKeyValue, name: string) => Promise<boolean>;

/** Whether a CEK's value opens under the new CMK. */
async function openerOf(deps: Deps, mine: Held, pacerOf: (kms: RegionalKms) => Pacer): Promise<Opens> {
  const { kms } = await rotationTarget(deps, mine.to!.keyId);
  const mover = new Mover(deps, mine, kms, pacerOf(kms));
  return async (v, name) => !('poison' in (await mover.move(wrappedIn(v), columnKeyContext(deps.config, mine.purpose, name), mine.to!.keyId)));
}

/** Rule 3: a value goes only where the same CEK's value under the other CMK is read back right before, and opens (`opens`), or has never been touched. */
async function dropColumnValues(deps: Deps, mine: Held, under: string, keepUnder: string, opens?: Opens): Promise<number> {
  let dropped = 0;
  for await (const { name } of columnKeysOf(deps, under)) {
    for (;;) {
      const key = await deps.store.readColumnKey(name);
      const old = key?.values.find((v) => v.keyId === under);
      const kept = key?.values.find((v) => v.keyId === keepUnder);
      // the application's own, without a second value: it is moved or left, never dropped
      if (key === undefined || old === undefined || kept === undefined) break;
      if (opens !== undefined && !(await opens(kept, name))) throw new KeywardenError('KW-WRAPPED-KEY', `the value of ${name} under ${kept.masterKey} does not open`, { key: keepUnder, notDone: `its value under ${old.masterKey} was not dropped`, next: 'find out who wrote the value; the old one still opens' });
      await intend(deps, mine, 'DropColumnKeyValue', `${name}/${old.masterKey}`);
      const audit = entry(deps, mine.e, { action: 'DropColumnKeyValue', phase: 'done', keyId: mine.keyId, occasion: `${name}/${old.masterKey}`, detail: { cek: name, masterKey: old.masterKey, kept: kept.masterKey } });
      if ((await deps.store.changeColumnKey(key, { drop: old.masterKey, audit })) === 'changed') continue;
      dropped++;
      heartbeat();
      break;
    }
  }
  return dropped;
}

async function* columnKeysOf(deps: Pick<Deps, 'store'>, keyId: string): AsyncIterable<ColumnKey> {
  for (let after = ''; ; ) {
    const page = await deps.store.listColumnKeys(keyId, { after, limit: PAGE });
    yield* page;
    if (page.length < PAGE) return;
    after = page.at(-1)!.name;
  }
}

function wrappedIn(v: ColumnKeyValue): string {
  return Buffer.from(unpackValue(Buffer.from(v.value, 'base64')).ciphertext).toString('base64');
}

