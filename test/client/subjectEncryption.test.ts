import { KeyManagementService } from '../../client';
import { kmsClients } from '../../worker';
import { codeOf } from '../harness/toThrowWithCode';
import { createWorld, type World } from '../harness/world';
import { decide, resultOf } from '../procedures/people';
import { application } from './application';

const phone = { subjectId: 'ada', field: 'phone' };
const pause = (ms: number): Promise<void> => new Promise((r) => setTimeout(r, ms));

describe('an application that uses the keys of its subjects', () => {
  let world: World;
  const opened: KeyManagementService[] = [];
  const app = (encryption: Parameters<typeof application>[1] = {}): KeyManagementService => {
    opened.push(application(world, encryption));
    return opened.at(-1)!;
  };
  const kmsCalls = async (operation: string, since: string): Promise<number> => (await world.kms.admin.calls({ operation, since })).length;

  beforeAll(async () => {
    world = await createWorld();
    await world.initialize('user-data', 'payment-data', 'audit-data');
  });
  afterEach(async () => {
    world.store.heal();
    await world.kms.admin.clearFaults();
    for (const a of opened.splice(0)) await a.close();
  });
  afterAll(() => world.stop());

  it('initializes a subject once, then encrypts and decrypts for it; another process reads the same', async () => {
    const [one, two] = [app(), app()];
    expect(await one.initializeUserEncryption('ada')).toEqual({ created: true });
    expect(await two.initializeUserEncryption('ada')).toEqual({ created: false });
    const message = await one.encrypt(phone, '555-0142');
    expect(message.toString('latin1')).not.toContain('555');
    expect((await two.decrypt(phone, message)).toString()).toBe('555-0142');
  });

  it('the key is wrapped for its subject and purpose, with the material that wraps it; nobody saw it when it was made', async () => {
    const since = new Date().toISOString();
    await app().initializeUserEncryption('eve', { purpose: 'payment-data' });
    const row = (await world.store.real.readSubjectKey('eve', 'payment-data'))!;
    expect(row).toMatchObject({ keyId: await world.keyId('payment-data'), keyMaterialId: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect([await kmsCalls('GenerateDataKeyWithoutPlaintext', since), await kmsCalls('GenerateDataKey', since), await kmsCalls('Decrypt', since)]).toEqual([1, 0, 0]);
    const { application: name, environment } = world.config;
    const open = (EncryptionContext: Record<string, string>) => world.application.get('us-east-1')!.decrypt(row.keyId, Buffer.from(row.encryptedKey, 'base64'), EncryptionContext);
    expect((await open({ application: name, environment, purpose: 'payment-data', subject: 'eve' })).length).toBe(32);
    for (const change of [{ subject: 'ada' }, { purpose: 'user-data' }, { environment: 'production' }, { application: 'x' }]) {
      expect(await codeOf(open({ application: name, environment, purpose: 'payment-data', subject: 'eve', ...change }))).toBe('KW-KMS');
    }
  });

  it('refuses what is not bound to the field: another subject, purpose, field', async () => {
    const a = app();
    for (const [subject, purpose] of [['ada', 'user-data'], ['bob', 'user-data'], ['ada', 'payment-data']] as const) await a.initializeUserEncryption(subject, { purpose });
    const message = await a.encrypt(phone, '555-0142');
    for (const other of [{ ...phone, subjectId: 'bob' }, { ...phone, purpose: 'payment-data' }, { ...phone, field: 'fax' }]) {
      const error = await a.decrypt(other, message).catch((e: Error) => e);
      expect(error).toMatchObject({ code: 'KW-FIELD-FORGED' });
      expect(JSON.stringify(error) + String(error)).not.toContain('555');
    }
    expect((await a.decrypt(phone, message)).toString()).toBe('555-0142');
  });

  it("a subject's wrapped key moved to another subject does not open (KMS refuses the context)", async () => {
    const ada = (await world.store.real.readSubjectKey('ada', 'user-data'))!;
    await world.store.real.putSubjectKey({ ...ada, subjectId: 'mallory' });
    await world.store.real.putSubjectKey({ ...ada, subjectId: 'noise', encryptedKey: Buffer.from('noise').toString('base64') });
    for (const subjectId of ['mallory', 'noise']) expect(await codeOf(app().encrypt({ subjectId, field: 'phone' }, 'x'))).toBe('KW-SUBJECT-KEY');
  });

  it('a row that names a CMK unknown to the store, or one of another purpose, is refused: it could not be revoked', async () => {
    const ada = (await world.store.real.readSubjectKey('ada', 'user-data'))!;
    await world.store.real.putSubjectKey({ ...ada, subjectId: 'stray', keyId: 'mrk-00000000000000000000000000000000' });
    await world.store.real.putSubjectKey({ ...ada, subjectId: 'crossed', keyId: await world.keyId('audit-data') });
    for (const subjectId of ['stray', 'crossed']) expect(await codeOf(app().encrypt({ subjectId, field: 'phone' }, 'x'))).toBe('KW-KEY-UNKNOWN');
  });

  it('refuses bad input at the door, by its path, before KMS or the store is asked', async () => {
    const a = app();
    const asked = world.store.calls('readSubjectKey');
    const bad: [Promise<unknown>, string, string][] = [
      [a.initializeUserEncryption(''), 'KW-INPUT', 'subjectId'], [a.initializeUserEncryption('a b'), 'KW-INPUT', 'subjectId'], [a.initializeUserEncryption('x'.repeat(129)), 'KW-INPUT', 'subjectId'],
      [a.initializeUserEncryption(undefined as never), 'KW-INPUT', 'subjectId'], [a.initializeUserEncryption('ada', { purpose: 'secrets' }), 'KW-INPUT', 'purpose'],
      [a.encrypt({ subjectId: 'ada', field: 'pho\nne' }, 'x'), 'KW-INPUT', 'field'], [a.encrypt({ subjectId: 'ada', field: 'téléphone' }, 'x'), 'KW-INPUT', 'field'], [a.encrypt(undefined as never, 'x'), 'KW-INPUT', 'field'],
      [a.encrypt(phone, 7 as never), 'KW-INPUT', 'plaintext'], [a.decrypt(phone, 'text' as never), 'KW-FIELD-FORM', ''],
    ];
    for (const [call, code, path] of bad) expect(await call.then(() => undefined, (e: { code: string; path?: string }) => [e.code, e.path ?? ''])).toEqual([code, path]);
    expect(world.store.calls('readSubjectKey')).toBe(asked);
    expect(() => app({ cache: { maxEntries: 0 } })).not.toThrow();
    expect(await codeOf(app({ cache: { maxEntries: 0 } }).encrypt(phone, 'x'))).toBe('KW-INPUT');
    expect(await codeOf(app({ learnWithinMs: 1.5 }).encrypt(phone, 'x'))).toBe('KW-INPUT');
    expect(await codeOf(new KeyManagementService({ config: world.config }).encrypt(phone, 'x'))).toBe('KW-INPUT');
    expect(await codeOf(new KeyManagementService({}).emergencyRevokeKey({ key: 'user-data', reason: 'x' }))).toBe('KW-INPUT');
  });

  it('a subject that was never initialized has no key, and none is made by reading', async () => {
    expect(await codeOf(app().encrypt({ subjectId: 'nobody', field: 'phone' }, 'x'))).toBe('KW-SUBJECT-UNKNOWN');
    expect(await world.store.real.readSubjectKey('nobody', 'user-data')).toBeUndefined();
  });

  it('many who miss the same key at once make one flight: one read, one Decrypt', async () => {
    const message = await app().encrypt(phone, '555-0142');
    const a = app();
    const [since, reads] = [new Date().toISOString(), world.store.calls('readSubjectKey')];
    const texts = await Promise.all(Array.from({ length: 200 }, () => a.decrypt(phone, message)));
    expect(new Set(texts.map(String))).toEqual(new Set(['555-0142']));
    expect([await kmsCalls('Decrypt', since), world.store.calls('readSubjectKey') - reads]).toEqual([1, 1]);
  });

  it('a key is unwrapped anew after so many uses, however many wait for it', async () => {
    const message = await app().encrypt(phone, '555-0142');
    const a = app({ cache: { maxUses: 10 } });
    const since = new Date().toISOString();
    await Promise.all(Array.from({ length: 45 }, () => a.decrypt(phone, message)));
    expect(await kmsCalls('Decrypt', since)).toBe(5);
  });

  it('one slot for many subjects starves nobody', async () => {
    const a = app({ cache: { maxEntries: 1 } });
    const subjects = Array.from({ length: 6 }, (_, i) => `crowd-${i}`);
    await Promise.all(subjects.map((s) => a.initializeUserEncryption(s)));
    const texts = await Promise.all(Array.from({ length: 60 }, async (_, i) => {
      const of = { subjectId: subjects[i % 6]!, field: 'f' };
      return (await a.decrypt(of, await a.encrypt(of, `text ${i}`))).toString();
    }));
    expect(texts).toEqual(texts.map((_, i) => `text ${i}`));
  });

  it('a key past its age is unwrapped anew; one that nobody uses is dropped all the same', async () => {
    const a = app({ cache: { maxAgeMs: 300 }, learnWithinMs: 200 });
    const held = (): number => (a as unknown as { made: { cached: number } }).made.cached;
    const since = new Date().toISOString();
    const message = await a.encrypt(phone, '555-0142');
    await pause(350);
    await a.decrypt(phone, message);
    expect(await kmsCalls('Decrypt', since)).toBe(2);
    expect(held()).toBe(1);
    await world.until('it is dropped', async () => held() === 0, 2_000);
  });

  it('where the nearest Region is silent, the next one serves; a refusal is not asked for twice', async () => {
    const message = await app().encrypt(phone, '555-0142');
    await world.kms.admin.addFault({ kind: 'drop-before', region: 'us-east-1' });
    expect((await app().decrypt(phone, message)).toString()).toBe('555-0142');
    await world.kms.admin.addFault({ kind: 'drop-before', region: 'us-west-2' });
    expect(await codeOf(app().decrypt(phone, message))).toBe('KW-KMS-SILENT');
    await world.kms.admin.clearFaults();
    await world.kms.admin.addFault({ kind: 'deny', region: 'us-east-1', operation: 'Decrypt' });
    const since = new Date().toISOString();
    expect(await codeOf(app().decrypt(phone, message))).toBe('KW-KMS-DENIED');
    expect((await world.kms.admin.calls({ operation: 'Decrypt', region: 'us-west-2', since })).length).toBe(0);
  });

  describe('while the store is silent', () => {
    it('keys within their age go on; past it they are used until the grace is over, then refused, and zeroed', async () => {
      const a = app({ learnWithinMs: 100, cache: { maxAgeMs: 500 }, storeGraceMs: 1_500 });
      const message = await a.encrypt(phone, '555-0142');
      world.store.fail('keyMarks', 'down').fail('readSubjectKey', 'down');
      const began = Date.now();
      let last = 0;
      for (;;) {
        const code = await codeOf(a.decrypt(phone, message));
        if (code !== 'nothing was thrown') {
          expect(code).toBe('KW-STORE');
          break;
        }
        last = Date.now() - began;
        await pause(20);
      }
      expect(last).toBeGreaterThan(1_000); // longer than its age
      expect(last).toBeLessThan(1_700);
      expect((a as unknown as { made: { cached: number } }).made.cached).toBe(0);
      world.store.heal();
      await world.until('it works again', async () => (await a.decrypt(phone, message)).toString() === '555-0142', 2_000);
    });

    it('that hangs holds up no warm key longer than one look, and none at all afterwards', async () => {
      const a = app({ learnWithinMs: 500 });
      const message = await a.encrypt(phone, '555-0142');
      world.store.fail('keyMarks', 'hang');
      const began = Date.now();
      let longest = 0;
      while (Date.now() - began < 2_000) {
        const at = Date.now();
        await a.decrypt(phone, message);
        longest = Math.max(longest, Date.now() - at);
        await pause(5);
      }
      expect(longest).toBeLessThan(450);
    });

    it('from the beginning, no key is used: a process that the store does not know cannot be waited for', async () => {
      world.store.fail('saveConsumer', 'down');
      const since = new Date().toISOString();
      expect(await codeOf(app().encrypt(phone, 'x'))).toBe('KW-STORE');
      expect(await kmsCalls('Decrypt', since)).toBe(0);
    });
  });

  describe('when the CMK is revoked', () => {
    it('every process learns of it within 5 s, drops its keys, refuses, acknowledges; after the recovery all go on', async () => {
      const [one, two, busy] = [app(), app(), app({ learnWithinMs: 5_000, name: 'busy' })];
      await one.initializeUserEncryption('pupil');
      await one.initializeUserEncryption('pupil', { purpose: 'payment-data' });
      const [of, paid] = [{ subjectId: 'pupil', field: 'phone' }, { subjectId: 'pupil', field: 'iban', purpose: 'payment-data' }];
      const [message, other] = [await one.encrypt(of, '555-0142'), await one.encrypt(paid, 'DE02')];
      await two.decrypt(of, message);
      await busy.decrypt(of, message);

      const input = { key: 'user-data', reason: 'the library must notice' };
      const revocation = await world.revoke(input);
      const keyId = await world.keyId('user-data');
      const raised = await world.until('the revocation is recorded', async () => (await world.store.real.readKey(keyId))?.window !== undefined && Date.now(), 30_000);
      await Promise.all([one, two, busy].map(async (a) => {
        for (let refusal = ''; refusal !== 'KW-KEY-REVOKED'; await pause(10)) refusal = await codeOf(a.decrypt(of, message));
        expect(Date.now() - raised).toBeLessThan(5_000);
        expect((a as unknown as { made: { cached: number } }).made.cached).toBe(a === one ? 1 : 0); // the payment key stays
        expect(await codeOf(a.encrypt(of, 'x'))).toBe('KW-KEY-REVOKED');
        expect(await codeOf(a.initializeUserEncryption('newcomer'))).toBe('KW-KEY-REVOKED');
      }));
      expect((await one.decrypt(paid, other)).toString()).toBe('DE02');
      const epoch = (await world.store.real.readKey(keyId))!.epoch;
      await world.until('all have acknowledged', async () => (await world.store.real.consumersOf('user-data', keyId)).filter((c) => c.acknowledged?.epoch === epoch).length === 3, 3_000);

      await world.stepsDone(revocation.workflowId, 'open-window', 'prove-effect');
      const back = { key: 'user-data', reason: 'false alarm' };
      const recovery = await world.recover(back, 'alice');
      await decide(world, recovery.workflowId, 'recoverKey', back, 'bob', 'KeyRecoveryAdmin');
      expect(await resultOf(world, recovery.workflowId)).toMatchObject({ outcome: 'recovered' });
      for (const a of [one, two, busy]) await world.until('it reads again', async () => (await a.decrypt(of, message)).toString() === '555-0142', 5_000);
    });

    it('a key that was being unwrapped when the revocation was learned of is neither used nor kept', async () => {
      const a = app({ learnWithinMs: 100 });
      await a.initializeUserEncryption('late', { purpose: 'audit-data' });
      const of = { subjectId: 'late', field: 'f', purpose: 'audit-data' };
      const message = await a.encrypt(of, 'x');
      const b = app({ learnWithinMs: 100 });
      await b.initializeUserEncryption('late', { purpose: 'audit-data' }); // it looks from now on
      const keyId = await world.keyId('audit-data');
      // KMS has answered before it was disabled, and its answer is on its way for a second
      await world.kms.admin.addFault({ kind: 'latency', operation: 'Decrypt', ms: 1_000 });
      const slow = codeOf(b.decrypt(of, message));
      await world.store.real.changeKey(keyId, (row) => ({ row: { ...row!, epoch: row!.epoch + 1, window: { procedure: { workflowId: 'w', firstRunId: 'r' }, mode: 'disable', revokedAt: new Date().toISOString(), deadline: new Date(Date.now() + 1e6).toISOString(), snapshot: {}, disabledIn: [], disabling: [] } }, result: 0 }));
      expect(await slow).toBe('KW-KEY-REVOKED');
      expect((b as unknown as { made: { cached: number } }).made.cached).toBe(0);
    });

    it('and KMS knows before the store does, all keys under it are dropped at once', async () => {
      const a = app({ cache: { maxUses: 1 } });
      const b = { subjectId: 'second', field: 'f', purpose: 'payment-data' };
      await a.initializeUserEncryption('ada', { purpose: 'payment-data' });
      await a.initializeUserEncryption('second', { purpose: 'payment-data' });
      const first = { ...phone, purpose: 'payment-data' };
      const message = await a.encrypt(first, 'x'); // its one use is up
      await a.encrypt(b, 'y');
      const keyId = await world.keyId('payment-data');
      const [down, up] = [kmsClients(world.config, 'emergency'), kmsClients(world.config, 'recovery')];
      await Promise.all([...down.values()].map((kms) => kms.disable(keyId)));
      expect(await codeOf(a.decrypt(first, message))).toBe('KW-KEY-REVOKED');
      expect((a as unknown as { made: { cached: number } }).made.cached).toBe(0);
      await Promise.all([...up.values()].map((kms) => kms.enable(keyId)));
      for (const kms of [...down.values(), ...up.values()]) kms.close();
    });
  });

  describe('when a subject is being erased', () => {
    const become = async (id: string, state: 'erasing' | 'restored') => world.store.real.changeErasure(await world.store.real.requestErasure(id), (row) => ({ row: { ...row!, state, procedure: { workflowId: 'w', firstRunId: 'r' } }, result: 0 }));
    const purpose = 'payment-data';

    it("only that subject's keys are dropped; a process that begins later refuses too; given back, the same data is read", async () => {
      const [a, later] = [app({ learnWithinMs: 200 }), app()];
      for (const id of ['leaving', 'staying']) await a.initializeUserEncryption(id, { purpose });
      const messages = await Promise.all(['leaving', 'staying'].map((subjectId) => a.encrypt({ subjectId, field: 'f', purpose }, subjectId)));
      await become('leaving', 'erasing');
      await world.until('it refuses', async () => (await codeOf(a.decrypt({ subjectId: 'leaving', field: 'f', purpose }, messages[0]!))) === 'KW-SUBJECT-ERASED', 1_000);
      expect((a as unknown as { made: { cached: number } }).made.cached).toBe(1);
      expect(await codeOf(later.decrypt({ subjectId: 'leaving', field: 'f', purpose }, messages[0]!))).toBe('KW-SUBJECT-ERASED');
      expect((await a.decrypt({ subjectId: 'staying', field: 'f', purpose }, messages[1]!)).toString()).toBe('staying');
      await become('leaving', 'restored');
      for (const x of [a, later]) expect((await x.decrypt({ subjectId: 'leaving', field: 'f', purpose }, messages[0]!)).toString()).toBe('leaving');
    });

    it('a key that was being unwrapped when it was learned of is neither used nor kept', async () => {
      const a = app({ learnWithinMs: 100 });
      await a.initializeUserEncryption('racing', { purpose });
      const message = await a.encrypt({ subjectId: 'racing', field: 'f', purpose }, 'x');
      const b = app({ learnWithinMs: 100 });
      await b.initializeUserEncryption('racing', { purpose }); // it looks from now on
      await world.kms.admin.addFault({ kind: 'latency', operation: 'Decrypt', ms: 1_000 });
      const slow = codeOf(b.decrypt({ subjectId: 'racing', field: 'f', purpose }, message));
      await pause(100);
      await become('racing', 'erasing');
      expect(await slow).toBe('KW-SUBJECT-ERASED');
      expect((b as unknown as { made: { cached: number } }).made.cached).toBe(0);
    });
  });

  it('a closed process is not waited for, and uses no key any more', async () => {
    const a = app({ name: 'leaver' });
    const message = await a.encrypt({ ...phone, purpose: 'payment-data' }, 'x');
    const keyId = await world.keyId('payment-data');
    const known = async (): Promise<boolean> => (await world.store.real.consumersOf('payment-data', keyId)).some((c) => c.consumerId.startsWith('leaver'));
    expect(await known()).toBe(true);
    await a.close();
    expect(await known()).toBe(false);
    expect(await codeOf(a.decrypt({ ...phone, purpose: 'payment-data' }, message))).toBe('KW-INPUT');
  });
});
