import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { KMSClient } from '@aws-sdk/client-kms';
import { systemClock, type Clock } from '../domain/clock';
import { beingErased } from '../domain/erasure';
import { KeywardenError } from '../domain/errors';
import { FIELD_NAME, SUBJECT_ID } from '../domain/subject';
import type { Store, SubjectKey } from '../stores/store';
import { DataKeyCache, type CacheBounds } from './dataKeyCache';
import { checkForm, DataKey, MAX_FIELD_BYTES } from './fieldFormat';
import { RevocationWatch } from './revocationWatch';
import { revoked, WrappedKeys } from './wrappedKeys';

/** Where a field belongs; all of it is bound to the ciphertext. */
export interface FieldOf {
  subjectId: string;
  field: string;
  /** Default `user-data`. */
  purpose?: string;
}

export interface SubjectEncryptionOptions {
  where: { application: string; environment: string; purposes: readonly string[] };
  store: Store;
  /** One for each Region that may serve, the nearest first. */
  kms: readonly KMSClient[];
  /** Default 5,000 keys, 5 minutes, 1,000,000 uses. */
  cache?: Partial<CacheBounds>;
  /** Default 5,000 ms. */
  learnWithinMs?: number;
  /** How long the store may be silent before keys past their age are refused. Default 30,000 ms. */
  storeGraceMs?: number;
  /** Purposes that this process uses; default all. */
  purposes?: readonly string[];
  /** Shown by a revocation that waits for this process; default host and process id. */
  name?: string;
  clock?: Clock;
}

type Use<T> = (key: DataKey) => T;
interface Waiter {
  use: Use<unknown>;
  resolve(value: never): void;
  reject(error: unknown): void;
}

/** Encrypts and decrypts subjects' fields. Keys are unwrapped by KMS, held in the clear within bounds, and dropped when their CMK is revoked. */
export class SubjectEncryption {
  private readonly bounds: CacheBounds;
  private readonly cache: DataKeyCache;
  private readonly keys: WrappedKeys;
  private readonly watch: RevocationWatch;
  private readonly flights = new Map<string, Waiter[]>();
  /** Keys under way whose subject's erasure was learned of meanwhile. */
  private readonly overtaken = new Set<string>();
  private readonly making = new Map<string, Promise<{ created: boolean }>>();
  private readonly purposes: readonly string[];
  private readonly clock: Clock;
  private readonly graceMs: number;
  private closed = false;

  constructor(private readonly o: SubjectEncryptionOptions) {
    const learnWithinMs = positive('learnWithinMs', o.learnWithinMs ?? 5_000, 600_000);
    this.graceMs = positive('storeGraceMs', o.storeGraceMs ?? 30_000, 3_600_000, 0);
    this.bounds = {
      maxEntries: positive('cache.maxEntries', o.cache?.maxEntries ?? 5_000, 10_000_000),
      maxAgeMs: positive('cache.maxAgeMs', o.cache?.maxAgeMs ?? 300_000, 3_600_000),
      maxUses: positive('cache.maxUses', o.cache?.maxUses ?? 1_000_000, 2 ** 32),
    };
    if (o.kms.length === 0) throw wrong('kms', 'at least one KMS client is needed', 'give one for each Region, the nearest first');
    this.purposes = o.purposes ?? o.where.purposes;
    for (const p of this.purposes) this.known(p, 'purposes');
    this.clock = o.clock ?? systemClock;
    this.cache = new DataKeyCache(this.bounds);
    this.keys = new WrappedKeys(o.where, o.kms);
    this.watch = new RevocationWatch({
      store: o.store,
      consumer: { consumerId: `${o.name ?? `${hostname()}/${process.pid}`}/${randomUUID().slice(0, 8)}`, purposes: this.purposes, drainsWithinMs: this.bounds.maxAgeMs + this.graceMs + learnWithinMs },
      learnWithinMs,
      clock: this.clock,
      drop: (keyId) => this.cache.dropWhere((key) => key.keyId === keyId),
      open: (keyId) => this.openCanary(keyId),
      dropSubject: (subjectId) => this.dropSubject(subjectId),
      // while the store is silent, its grace holds
      looked: () => (this.watch.failure !== undefined && this.inGrace) || this.cache.dropAged(this.clock.now()),
    });
  }

  /**
   * Makes the subject's key where there is none. Called by many at once, or again, there is one key and all agree on it.
   * @throws KW-INPUT, KW-SUBJECT-ERASED, KW-KEY-REVOKED, KW-KMS…, KW-STORE
   */
  async initialize(subjectId: string, purpose = 'user-data'): Promise<{ created: boolean }> {
    const name = this.nameOf(subjectId, purpose);
    const flight = this.making.get(name) ?? this.make(subjectId, purpose).finally(() => this.making.delete(name));
    this.making.set(name, flight);
    return flight;
  }

  /** @throws KW-INPUT, KW-SUBJECT-UNKNOWN, KW-SUBJECT-ERASED, KW-SUBJECT-KEY, KW-KEY-REVOKED, KW-KMS…, KW-STORE */
  async encrypt(of: FieldOf, plaintext: Uint8Array | string): Promise<Buffer> {
    const name = this.fieldOf(of);
    const bytes = typeof plaintext === 'string' ? Buffer.from(plaintext, 'utf8') : plaintext;
    if (!(bytes instanceof Uint8Array) || bytes.length > MAX_FIELD_BYTES) throw wrong('plaintext', 'must be text or bytes, 64 MiB at most', 'encrypt larger things in parts');
    return this.withKey(name, of, (key) => key.seal(of.field, bytes));
  }

  /** @throws what `encrypt` throws; KW-FIELD-FORM, KW-FIELD-FORGED */
  async decrypt(of: FieldOf, message: Uint8Array): Promise<Buffer> {
    const name = this.fieldOf(of);
    checkForm(message);
    return this.withKey(name, of, (key) => key.open(of.field, message));
  }

  /** Zeroes every key and takes this process off the list of those that a revocation waits for. */
  async close(): Promise<void> {
    this.closed = true;
    this.cache.dropWhere(() => true);
    await this.watch.close();
    this.cache.dropWhere(() => true);
  }

  /** Plaintext keys held now. */
  get cached(): number {
    return this.cache.size;
  }

  private async make(subjectId: string, purpose: string): Promise<{ created: boolean }> {
    await this.watch.look();
    const { store } = this.o;
    const there = await store.readSubjectKey(subjectId, purpose);
    if (there?.state === 'erasing') throw beingErased('no key was made');
    if (there !== undefined) return { created: false };
    const made = await this.keys.make(subjectId, purpose);
    await this.inUse(made);
    // the first stays, whoever was first: every process then uses that one
    const kept = await store.putSubjectKey(made);
    return { created: kept.encryptedKey === made.encryptedKey };
  }

  /** `use` runs at once where the key is held, else when it is: never across an `await`, so that no dropped key is ever used. */
  private withKey<T>(name: string, of: FieldOf, use: Use<T>): Promise<T> | T {
    if (this.watch.current) {
      const held = this.cache.use(name, this.clock.now());
      if (held !== undefined) return use(held);
    }
    return new Promise<T>((resolve, reject) => {
      const waiter: Waiter = { use, resolve, reject };
      const flight = this.flights.get(name);
      if (flight !== undefined) return void flight.push(waiter);
      this.flights.set(name, [waiter]);
      void this.fly(name, of.subjectId, of.purpose ?? 'user-data');
    });
  }

  /** One flight for all who miss the same key at the same time. */
  private async fly(name: string, subjectId: string, purpose: string): Promise<void> {
    try {
      if (!this.watch.current) await this.watch.look();
      // somebody else's flight, or a key that only waited for the look
      if (!this.serve(name)) await this.unwrap(name, subjectId, purpose);
    } catch (error) {
      for (const w of this.landed(name)) w.reject(error);
    }
    // more waited than the key may be used: the rest take another flight
    if (this.flights.has(name)) void this.fly(name, subjectId, purpose);
  }

  private async unwrap(name: string, subjectId: string, purpose: string): Promise<void> {
    let row: SubjectKey | undefined;
    this.overtaken.delete(name);
    try {
      row = await this.o.store.readSubjectKey(subjectId, purpose);
    } catch (error) {
      // past its age, but the store may be back before its grace is over
      if (this.inGrace && this.serve(name, true)) return;
      this.cache.drop(name);
      throw error;
    }
    if (row === undefined) {
      this.cache.drop(name);
      throw new KeywardenError('KW-SUBJECT-UNKNOWN', `no ${purpose} key of the subject`, { notDone: 'nothing was encrypted or decrypted', next: 'call initializeUserEncryption first' });
    }
    if (row.state === 'erasing') {
      this.cache.drop(name);
      throw beingErased('nothing was encrypted or decrypted');
    }
    const { plaintext, keyId } = await this.open(row);
    try {
      if (this.closed) throw wrong('', 'the service is closed', 'make a new one');
      if (this.overtaken.delete(name)) throw beingErased('nothing was encrypted or decrypted');
      await this.inUse({ keyId, purpose }, false); // it may have been revoked while KMS worked
      const { application, environment } = this.o.where;
      this.cache.put(name, { key: new DataKey(plaintext, { application, environment, purpose, subjectId }), keyId, since: this.clock.now(), uses: 0 });
    } finally {
      plaintext.fill(0);
    }
    this.serve(name);
  }

  /** While another CMK takes a CMK's place, what does not open under the new one is opened under the old. */
  private async open(row: SubjectKey): Promise<{ plaintext: Uint8Array; keyId: string }> {
    try {
      await this.inUse(row);
      return { plaintext: await this.keys.open(row), keyId: row.keyId };
    } catch (error) {
      if (row.previous !== undefined && this.watch.mark(row.keyId)?.introduced === true) {
        const { previous, ...rest } = row;
        return this.open({ ...rest, ...previous });
      }
      // KMS knows of a revocation before the store does
      if (error instanceof KeywardenError && error.code === 'KW-KEY-REVOKED') this.cache.dropWhere((key) => key.keyId === row.keyId);
      throw error;
    }
  }

  /** Runs what waits for a key, as far as the key may be used; false where it is not held. */
  private serve(name: string, aged = false): boolean {
    const waiting = this.flights.get(name) ?? [];
    for (let w = waiting[0]; w !== undefined; w = waiting[0]) {
      const key = this.cache.use(name, this.clock.now(), aged);
      if (key === undefined) return false;
      waiting.shift();
      try {
        w.resolve(w.use(key) as never);
      } catch (error) {
        w.reject(error);
      }
    }
    this.flights.delete(name);
    return true;
  }

  private dropSubject(subjectId: string | undefined): void {
    const isOf = (name: string): boolean => subjectId === undefined || name.endsWith(` ${subjectId}`);
    this.cache.dropWhere((_key, name) => isOf(name));
    for (const name of this.flights.keys()) if (isOf(name)) this.overtaken.add(name);
  }

  private landed(name: string): Waiter[] {
    const waiting = this.flights.get(name) ?? [];
    this.flights.delete(name);
    return waiting;
  }

  /** The CMK that wraps a key is one of ours, for this purpose, and not revoked as far as is known. A key that the store does not know could not be revoked. */
  private async inUse(row: Pick<SubjectKey, 'keyId' | 'purpose'>, mayLook = true): Promise<void> {
    const mark = this.watch.mark(row.keyId);
    if (mark === undefined && mayLook) {
      await this.watch.look(); // it may be newer than the last look
      return this.inUse(row, false);
    }
    if (mark === undefined || mark.purpose !== row.purpose) throw new KeywardenError('KW-KEY-UNKNOWN', `the store knows no CMK of ${row.purpose} with this id`, { key: row.keyId, notDone: 'nothing was encrypted or decrypted', next: 'run initializeKeys; if it was run, find out who wrote the row of the subject' });
    if (mark.revoked) throw revoked(row.keyId, 'it was revoked');
  }

  /** A CMK that takes another's place: whether this process, with its own rights and from its own network, can use it. */
  private async openCanary(keyId: string): Promise<void> {
    const row = await this.o.store.readKey(keyId);
    if (row?.canary === undefined) throw new KeywardenError('KW-NOT-YET', 'the CMK has no canary yet', { key: keyId, notDone: 'it was not opened', next: 'it is looked at again' });
    await this.keys.openCanary(keyId, row.canary);
  }

  private get inGrace(): boolean {
    return this.watch.ageMs <= this.graceMs;
  }

  private nameOf(subjectId: string, purpose: string): string {
    if (this.closed) throw wrong('', 'the service is closed', 'make a new one');
    if (typeof subjectId !== 'string' || !SUBJECT_ID.test(subjectId)) throw wrong('subjectId', 'must be 1 to 128 letters, digits or . _ : @ + -', 'use an opaque id of the subject');
    this.known(purpose, 'purpose');
    return `${purpose} ${subjectId}`;
  }

  private fieldOf(of: FieldOf): string {
    if (typeof of?.field !== 'string' || !FIELD_NAME.test(of.field)) throw wrong('field', 'must be 1 to 128 letters, digits or . _ : / + -', 'name the field as its column');
    return this.nameOf(of.subjectId, of.purpose ?? 'user-data');
  }

  private known(purpose: string, path: string): void {
    if (!(this.purposes ?? []).includes(purpose) || !this.o.where.purposes.includes(purpose)) throw wrong(path, `"${purpose}" is not one of ${this.o.where.purposes.join(', ')}`, 'name a purpose of the configuration');
  }
}

function positive(path: string, value: number, most: number, least = 1): number {
  if (!Number.isInteger(value) || value < least || value > most) throw wrong(path, `must be a whole number from ${least} to ${most}`, 'correct the option');
  return value;
}

function wrong(path: string, what: string, next: string): KeywardenError {
  return new KeywardenError('KW-INPUT', what, { ...(path === '' ? {} : { path }), notDone: 'nothing was encrypted or decrypted', next });
}
