import { join } from 'node:path';
import { CancelledFailure } from '@temporalio/common';
import Database from 'libsql';
import { asKeywardenError } from '../../cli/output';
import { KeyManagementService } from '../../client';
import { packValue, PROVIDER, unpackValue } from '../../domain/columnKey';
import { WORKFLOW_QUEUE } from '../../domain/names';
import type { RotateColumnKeyResult } from '../../workflows/rotateColumnEncryptionKey';
import { rowsOf } from '../faults/acts';
import { checkInvariants } from '../harness/invariants';
import { createWorld, days, type World } from '../harness/world';
import { addColumnKey, addSubjects, materialsNow, openColumnKey } from './wrapped';

jest.setTimeout(120_000);

describe('rotateColumnEncryptionKey', () => {
  let world: World;
  let service: KeyManagementService;

  beforeAll(async () => {
    world = await createWorld({ config: { purposes: ['user-data', 'audit-data'] } });
    await world.initialize();
    service = new KeyManagementService({ temporal: world.client, store: world.store.real });
    for (const cek of ['CEK_names', 'CEK_other']) await addColumnKey(world, 'user-data', cek);
  });
  afterAll(() => world?.stop());

  const rewrap = async (cek: string): Promise<RotateColumnKeyResult> => (await service.rotateColumnEncryptionKey(cek)).result() as Promise<RotateColumnKeyResult>;
  const start = (cek: string) => world.client.workflow.start('rotateColumnEncryptionKey', { taskQueue: WORKFLOW_QUEUE, workflowId: world.id('rotateColumnEncryptionKey'), args: [{ cek }] });
  const row = async (purpose: string) => (await world.store.real.readKey(await world.keyId(purpose)))!;
  /** KMS rotates by itself: the CMK has newer material than what stands under it. */
  const newMaterial = async (purpose: string): Promise<string> => {
    const before = await materialsNow(world, purpose);
    await world.kms.admin.advanceClock(days(91));
    await new Promise((r) => setTimeout(r, 1_500)); // the workers hear of the clock
    return world.until('it has new material', async () => {
      const { current } = await materialsNow(world, purpose);
      return current === before.current ? undefined : current;
    });
  };

  it('re-wraps that one under the current material of its CMK, leaves all others, and holds the CMK no longer', async () => {
    const material = await newMaterial('user-data');
    const [plain, other] = [await openColumnKey(world, 'user-data', 'CEK_names'), (await world.store.real.readColumnKey('CEK_other'))!.values];
    const started = await service.rotateColumnEncryptionKey('CEK_names');
    expect(await started.result()).toEqual({ outcome: 'rotated', cek: 'CEK_names', keyId: await world.keyId('user-data'), material });
    const { values } = (await world.store.real.readColumnKey('CEK_names'))!;
    expect(values.map((v) => [v.masterKey, unpackValue(Buffer.from(v.value, 'base64')).keyMaterialId])).toEqual([['CMK_user-data_b', material]]);
    expect(await openColumnKey(world, 'user-data', 'CEK_names')).toBe(plain);
    expect((await world.store.real.readColumnKey('CEK_other'))!.values).toEqual(other);
    expect(await row('user-data')).not.toMatchObject({ rotation: expect.anything() });
    expect(await row('user-data')).not.toMatchObject({ rotated: expect.anything() });
    expect(await rowsOf(world, started.workflowId)).toEqual(['BeginRotation done', 'AddColumnKeyValue intended', 'AddColumnKeyValue done', 'DropColumnKeyValue intended', 'DropColumnKeyValue done', 'EndRotation noted']);
  });

  it('rule 6: again, it finds nothing to do', async () => {
    const before = (await world.store.real.readColumnKey('CEK_names'))!.values;
    expect(await rewrap('CEK_names')).toMatchObject({ outcome: 'current' });
    expect((await world.store.real.readColumnKey('CEK_names'))!.values).toEqual(before);
  });

  it('refuses at the door a CEK that nobody has, with the path of the field', async () => {
    await expect(service.rotateColumnEncryptionKey('CEK_none')).rejects.toMatchObject({ code: 'KW-INPUT', path: 'input.cek' });
    await expect(service.rotateColumnEncryptionKey('')).rejects.toMatchObject({ code: 'KW-INPUT', path: 'input.cek' });
    // from the Temporal UI there is no door but the workflow's own
    const refused = await refusal((await start('CEK_none')).result());
    expect(refused).toMatchObject({ code: 'KW-INPUT', path: 'input.cek' });
  });

  it('does not race with a rotation of its CMK', async () => {
    await addSubjects(world, 'user-data', 0, 200);
    await newMaterial('user-data');
    await world.kms.admin.addFault({ kind: 'latency', operation: 'ReEncrypt', ms: 100 });
    const rotation = await world.client.workflow.start('rotateKey', { taskQueue: WORKFLOW_QUEUE, workflowId: world.id('rotateKey'), args: [{ key: 'user-data' }] });
    await world.until('it holds the key', async () => (await row('user-data')).rotation);
    expect(await refusal(rewrap('CEK_other'))).toMatchObject({ code: 'KW-PROCEDURE-OPEN' });
    await world.kms.admin.clearFaults();
    expect(await rotation.result()).toMatchObject({ outcome: 'rotated' });
  });

  it('ended from outside, it leaves nothing that stops the next rotation', async () => {
    for (const cek of ['CEK_audit', 'CEK_beside']) await addColumnKey(world, 'audit-data', cek);
    await newMaterial('audit-data');
    await world.kms.admin.addFault({ kind: 'error', operation: 'ReEncrypt', probability: 1 });
    const handle = await start('CEK_audit');
    await world.until('it holds the key', async () => (await row('audit-data')).rotation?.columnKey);
    await handle.terminate('an operator');
    await world.kms.admin.clearFaults();
    const { current } = await materialsNow(world, 'audit-data');
    const rotation = await world.client.workflow.start('rotateKey', { taskQueue: WORKFLOW_QUEUE, workflowId: world.id('rotateKey'), args: [{ key: 'audit-data' }] });
    expect(await rotation.result()).toMatchObject({ outcome: 'rotated', made: 'used', material: current });
    for (const cek of ['CEK_audit', 'CEK_beside']) expect((await world.store.real.readColumnKey(cek))!.values.map((v) => unpackValue(Buffer.from(v.value, 'base64')).keyMaterialId)).toEqual([current]);
    expect((await row('audit-data')).rotation).toBeUndefined();
  });

  it('rule 2: a revocation takes the CMK at once', async () => {
    await addColumnKey(world, 'audit-data', 'CEK_late');
    await newMaterial('audit-data');
    await world.kms.admin.addFault({ kind: 'latency', operation: 'ReEncrypt', ms: 1_500 });
    const handle = await start('CEK_late');
    await world.until('it holds the key', async () => (await row('audit-data')).rotation?.columnKey);
    const revocation = await world.revoke({ key: 'audit-data', reason: 'a leak' });
    await world.stepsDone(revocation.workflowId, 'disable', 'open-window');
    expect(['KW-PREEMPTED', 'cancelled']).toContain((await refusal(handle.result())).code);
    await world.kms.admin.clearFaults();
    expect(await refusal(rewrap('CEK_audit'))).toMatchObject({ code: expect.stringMatching(/^KW-(PLAN-DRIFT|PROCEDURE-OPEN)$/) });
  });

  it('one that does not open is set aside and told', async () => {
    const keyId = await world.keyId('user-data');
    const file = new Database(join(world.dataDir, 'keywarden.db'), { timeout: 2_000 });
    const value = Buffer.from(packValue({ provider: PROVIDER, keyArn: `arn:aws:kms:us-east-1:000000000000:key/${keyId}`, keyMaterialId: 'a'.repeat(64), ciphertext: Buffer.from('not a ciphertext') })).toString('base64');
    file.prepare("INSERT INTO column_key (name, purpose) VALUES ('CEK_poison', 'user-data')").run();
    file.prepare("INSERT INTO column_key_value (column_key, master_key, value, key_id) VALUES ('CEK_poison', 'CMK_user-data_a', ?, ?)").run(value, keyId);
    file.close();
    expect(await rewrap('CEK_poison')).toMatchObject({ outcome: 'incomplete' });
    expect(await world.store.real.readSetAside(keyId, { limit: 5 })).toMatchObject([{ kind: 'cek', id: 'CEK_poison', code: 'InvalidCiphertextException' }]);
    expect((await world.received()).filter((m) => m.kind === 'rotation-incomplete')).toHaveLength(1);
  });

  it('breaks no rule', async () => {
    expect(await checkInvariants(world)).toEqual([]);
  });
});

async function refusal(rejected: Promise<unknown>): Promise<{ code: string; path?: string | undefined }> {
  try {
    await rejected;
  } catch (error) {
    for (let at: unknown = error; at instanceof Error; at = at.cause) if (at instanceof CancelledFailure) return { code: 'cancelled' };
    const { code, path } = asKeywardenError(error);
    return { code, path };
  }
  return { code: 'done' };
}
