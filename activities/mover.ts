import { setTimeout as pause } from 'node:timers/promises';
import { subjectContext, type EncryptionContext } from '../domain/encryptionContext';
import { KeywardenError } from '../domain/errors';
import { rotationOf } from '../domain/keyRow';
import type { PageCounts, RewrappedPage, SetAside, SubjectKey } from '../stores/store';
import type { Deps } from './deps';
import { entry, now } from './execution';
import { errorName, isSilence, kmsError, type RegionalKms } from './kms';
import { materialsOf } from './materials';
import type { Pacer } from './pacer';
import { destination, type Held } from './rewrapping';

/**
 * What KMS opens for nobody, whatever is tried: the ciphertext is corrupt, of another context, or of another CMK than its row says. Source key
 * and context are pinned, so none of these says anything of another row.
 */
const POISON = new Set(['InvalidCiphertextException', 'IncorrectKeyException', 'ValidationException']);
/** What may pass in a moment. Throttling is waited for longer: KMS throttles at any rate now and then. */
const PASSING = new Set(['KMSInternalException', 'InternalFailure', 'DependencyTimeoutException', 'ServiceUnavailable', 'KeyUnavailableException']);
const TRIES = { throttled: 12, passing: 4, lagging: 8 } as const;

/** Moves wrapped keys under the new material of the same CMK, or under another CMK: ReEncrypt, so that no plaintext leaves KMS. */
export class Mover {
  constructor(private readonly deps: Deps, private readonly mine: Held, private readonly kms: RegionalKms, private readonly pacer: Pacer) {}

  /**
   * Re-wraps a page and writes it in one transaction with its audit row. Keys that do not open are set aside. Where a call fails for a reason
   * that is not the key's own, what was done is written all the same, then the failure is thrown.
   */
  async page(keys: readonly SubjectKey[], occasion: string): Promise<PageCounts> {
    const { deps, mine } = this;
    const page: RewrappedPage = { keyId: mine.keyId, rewrapped: [], setAside: [], ...(mine.to === undefined ? {} : { to: mine.to }), audit: (counts) => entry(deps, mine.e, { action: 'RewrapSubjectKeys', phase: 'done', keyId: mine.keyId, occasion, detail: { ...counts, ...destination(mine) } }) };
    let failure: unknown;
    await Promise.all(keys.map(async (key) => {
      try {
        if (failure !== undefined) return;
        const moved = await this.move(key.encryptedKey, subjectContext(deps.config, key.purpose, key.subjectId));
        if ('poison' in moved) page.setAside.push(this.aside('subject', key.purpose, key.subjectId, key.encryptedKey, moved.poison));
        else page.rewrapped.push({ subjectId: key.subjectId, purpose: key.purpose, before: key.encryptedKey, after: moved.ciphertext.toString('base64'), keyMaterialId: moved.material });
      } catch (error) {
        failure ??= error;
      }
    }));
    // a revocation that came meanwhile has taken the key: its row says so
    rotationOf(await deps.store.readKey(mine.keyId), mine.keyId, mine.e);
    const counts = page.rewrapped.length + page.setAside.length > 0 ? await deps.store.writePage(page) : { rewrapped: 0, changed: 0, setAside: 0 };
    if (failure !== undefined) throw failure;
    return counts;
  }

  /** One ciphertext under the new material, or KMS's word for why it does not open. */
  async move(encryptedKey: string, context: EncryptionContext, keyId = this.mine.keyId): Promise<{ ciphertext: Buffer; material: string } | { poison: string }> {
    const source = Buffer.from(encryptedKey, 'base64');
    if (source.length === 0) return { poison: 'ValidationException' };
    const tried = { throttled: 0, passing: 0, lagging: 0 };
    for (;;) {
      let why: keyof typeof tried;
      let last: unknown;
      try {
        const { ciphertext, material } = await this.pacer.run(() => this.kms.reEncrypt(keyId, this.mine.to?.keyId ?? keyId, source, context));
        if (await this.isCurrent(material)) return { ciphertext: Buffer.from(ciphertext), material };
        why = 'lagging';
        last = new KeywardenError('KW-NOT-YET', `KMS in ${this.kms.region} still wraps under older material`, { key: keyId, notDone: 'some keys were not re-wrapped', next: 'it is tried again' });
      } catch (error) {
        const name = errorName(error);
        if (POISON.has(name)) return { poison: name };
        if (name === 'ThrottlingException') {
          why = 'throttled';
          await this.pacer.throttled();
        } else if (PASSING.has(name) || isSilence(error)) why = 'passing';
        else throw kmsError(error, 'ReEncrypt', keyId, this.kms.region);
        last = kmsError(error, 'ReEncrypt', keyId, this.kms.region);
      }
      if (++tried[why] >= TRIES[why]) throw last;
      await pause(Math.min(2_000, 50 * 2 ** tried[why]) * (0.5 + Math.random()));
    }
  }

  /** Whether a destination's material is the one that is wanted; where KMS has rotated by itself meanwhile, the newest is wanted from now on. */
  private async isCurrent(material: string): Promise<boolean> {
    if (material === this.mine.material || this.mine.to !== undefined) return true; // a CMK that was just made has one
    const { current, known } = await materialsOf(this.kms, this.mine.keyId);
    // one that does not know the wanted material lags itself
    if (current !== material || !known.includes(this.mine.material)) return false;
    await this.deps.store.changeKey(this.mine.keyId, (row) => {
      const rotation = rotationOf(row, this.mine.keyId, this.mine.e);
      return { row: { ...row!, rotation: { ...rotation, material: current } }, result: undefined };
    });
    this.mine.material = current;
    return true;
  }

  aside(kind: SetAside['kind'], purpose: string, id: string, encryptedKey: string, code: string): SetAside {
    return { keyId: this.mine.keyId, kind, purpose, id, encryptedKey, code, at: new Date(now(this.deps)).toISOString(), workflowId: this.mine.e.workflowId };
  }
}
