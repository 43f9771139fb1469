import { heartbeat } from '@temporalio/activity';
import type { RotationActivities } from '../domain/activities';
import { packValue, PROVIDER, unpackValue } from '../domain/columnKey';
import { columnKeyContext, type EncryptionContext } from '../domain/encryptionContext';
import { KeywardenError } from '../domain/errors';
import { rotationOf } from '../domain/keyRow';
import type { ColumnKey, ColumnKeyValue } from '../stores/store';
import type { Deps } from './deps';
import { entry } from './execution';
import type { RegionalKms } from './kms';
import { rotationTarget } from './materials';
import { Mover } from './mover';
import type { Pacer } from './pacer';
import { held, intend, type Held } from './rewrapping';

const PAGE = 100;

/**
 * The CEKs' mover. The catalog has no change of a value: a value under new material is added under the CMK's other COLUMN MASTER KEY object, read
 * back and opened, then the old one is dropped; a value under another CMK is added beside the old one, which stays until that is final.
 * Killed anywhere, a CEK has the old value, both, or the new one.
 */
export function columnKeyActivities(deps: Deps, pacerOf: (kms: RegionalKms) => Pacer): Pick<RotationActivities, 'rewrapColumnKeys'> {
  return {
    async rewrapColumnKeys(a) {
      const mine = await held(deps, a.keyId);
      const { kms } = await rotationTarget(deps, a.keyId);
      const one = new ColumnKeyMover(deps, mine, kms, new Mover(deps, mine, kms, pacerOf(kms)));
      const done = { rewrapped: 0, changed: 0, setAside: 0 };
      for (let after = ''; ; ) {
        const page = mine.columnKey === undefined ? await deps.store.listColumnKeys(mine.keyId, { after, limit: PAGE }) : await only(deps, mine.columnKey);
        for (const key of page) {
          const how = await one.move(key);
          if (how !== 'current') done[how]++;
          heartbeat({ after: key.name });
        }
        if (page.length < PAGE) return done;
        after = page.at(-1)!.name;
      }
    },
  };
}

async function only(deps: Deps, name: string): Promise<ColumnKey[]> {
  const key = await deps.store.readColumnKey(name);
  return key === undefined ? [] : [key];
}

class ColumnKeyMover {
  constructor(private readonly deps: Deps, private readonly mine: Held, private readonly kms: RegionalKms, private readonly mover: Mover) {}

  async move(read: ColumnKey): Promise<'rewrapped' | 'changed' | 'setAside' | 'current'> {
    const { deps, mine } = this;
    const context = columnKeyContext(deps.config, mine.purpose, read.name);
    const ours = read.values.filter((v) => v.keyId === mine.keyId);
    if (mine.to !== undefined && read.values.some((v) => v.keyId === mine.to!.keyId)) return 'current';
    const fresh = mine.to === undefined ? ours.find((v) => this.isCurrent(v)) : undefined;
    if (fresh !== undefined) return ours.length === 1 ? 'current' : this.drop(read, ours.filter((v) => v !== fresh), fresh, context);
    // two old ones are what an interrupted rotation left: the one that opens stays, the other makes room
    const [source, ciphertext] = await this.opened(ours, context);
    if (source === undefined || ciphertext === undefined) return 'setAside';
    const key = ours.length === 1 ? read : await this.dropOthers(read, ours.filter((v) => v !== source), source, context);
    if (key === undefined) return 'changed';
    const added = await this.add(key, source, ciphertext);
    if (mine.to !== undefined) return added === undefined ? 'changed' : 'rewrapped';
    return added === undefined ? 'changed' : this.drop(added.key, added.key.values.filter((v) => v.keyId === mine.keyId && v.masterKey !== added.value.masterKey), added.value, context);
  }

  private isCurrent(v: ColumnKeyValue): boolean {
    try {
      const { keyMaterialId, keyArn } = unpackValue(Buffer.from(v.value, 'base64'));
      return keyMaterialId === this.mine.material && keyArn.endsWith(`:key/${this.mine.keyId}`);
    } catch {
      return false;
    }
  }

  /** The first value that KMS opens, with what it gave; what does not open is set aside when none does. */
  private async opened(values: readonly ColumnKeyValue[], context: EncryptionContext): Promise<[ColumnKeyValue, { ciphertext: Buffer; material: string }] | [undefined, undefined]> {
    for (const v of values) {
      const moved = await this.tryOpen(v, context);
      if (!('poison' in moved)) return [v, moved];
      if (v === values.at(-1)) await this.deps.store.setColumnKeyAside(this.mover.aside('cek', this.mine.purpose, context['cek']!, v.value, moved.poison));
    }
    return [undefined, undefined];
  }

  private async tryOpen(v: ColumnKeyValue, context: EncryptionContext): Promise<{ ciphertext: Buffer; material: string } | { poison: string }> {
    try {
      return await this.mover.move(Buffer.from(unpackValue(Buffer.from(v.value, 'base64')).ciphertext).toString('base64'), context);
    } catch (error) {
      if (error instanceof KeywardenError && error.code === 'KW-WRAPPED-KEY') return { poison: error.code };
      throw error;
    }
  }

  private async add(key: ColumnKey, source: ColumnKeyValue, moved: { ciphertext: Buffer; material: string }): Promise<{ key: ColumnKey; value: ColumnKeyValue } | undefined> {
    const { deps, mine } = this;
    rotationOf(await deps.store.readKey(mine.keyId), mine.keyId, mine.e);
    const { keyId, keyArn: path } = mine.to ?? { keyId: mine.keyId, keyArn: `arn:aws:kms:${this.kms.region}:${deps.config.account}:key/${mine.keyId}` };
    const value = Buffer.from(packValue({ provider: PROVIDER, keyArn: path, keyMaterialId: moved.material, ciphertext: moved.ciphertext })).toString('base64');
    const add = { masterKey: mine.to === undefined ? otherObject(source.masterKey) : firstObject(mine.purpose, keyId), value, keyId };
    await intend(deps, mine, 'AddColumnKeyValue', `${key.name}/${add.masterKey}`);
    const audit = entry(deps, mine.e, { action: 'AddColumnKeyValue', phase: 'done', keyId: mine.keyId, occasion: `${key.name}/${add.masterKey}`, detail: { cek: key.name, masterKey: add.masterKey, material: moved.material, ...(mine.to === undefined ? {} : { to: mine.to.keyId }) } });
    if ((await deps.store.changeColumnKey(key, { add: { ...add, path }, audit })) === 'changed') return undefined;
    const now = await deps.store.readColumnKey(key.name);
    return now === undefined ? undefined : { key: now, value: add };
  }

  private async dropOthers(key: ColumnKey, others: readonly ColumnKeyValue[], keep: ColumnKeyValue, context: EncryptionContext): Promise<ColumnKey | undefined> {
    return (await this.drop(key, others, keep, context)) === 'rewrapped' ? this.deps.store.readColumnKey(key.name) : undefined;
  }

  /** Rule 3: before a value is dropped, another value of the same key is read back here, and KMS opens it. */
  private async drop(read: ColumnKey, old: readonly ColumnKeyValue[], keep: ColumnKeyValue, context: EncryptionContext): Promise<'rewrapped' | 'changed'> {
    const { deps, mine } = this;
    for (const v of old) {
      const there = await deps.store.readColumnKey(read.name);
      const kept = there?.values.find((x) => x.masterKey === keep.masterKey);
      if (there === undefined || kept?.value !== keep.value) return 'changed';
      const opens = await this.tryOpen(kept, context);
      if ('poison' in opens) throw new KeywardenError('KW-WRAPPED-KEY', `the value of ${read.name} under ${keep.masterKey} does not open (${opens.poison})`, { key: mine.keyId, notDone: `its value under ${v.masterKey} was not dropped`, next: 'find out who wrote the value; the old one still opens' });
      rotationOf(await deps.store.readKey(mine.keyId), mine.keyId, mine.e);
      await intend(deps, mine, 'DropColumnKeyValue', `${read.name}/${v.masterKey}`);
      const audit = entry(deps, mine.e, { action: 'DropColumnKeyValue', phase: 'done', keyId: mine.keyId, occasion: `${read.name}/${v.masterKey}`, detail: { cek: read.name, masterKey: v.masterKey, kept: keep.masterKey } });
      if ((await deps.store.changeColumnKey(there, { drop: v.masterKey, audit })) === 'changed') return 'changed';
    }
    return 'rewrapped';
  }
}

/** Name of a new CMK's first COLUMN MASTER KEY object. */
export function firstObject(purpose: string, keyId: string): string {
  return `CMK_${purpose}_${keyId.slice(-8)}_a`;
}

/** Each CMK has two COLUMN MASTER KEY objects with the same path, used in turn. */
export function otherObject(name: string): string {
  return name.endsWith('_a') ? `${name.slice(0, -2)}_b` : name.endsWith('_b') ? `${name.slice(0, -2)}_a` : `${name}_b`;
}
