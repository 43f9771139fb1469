/** What an application has wrapped under a CMK: subject keys and CEKs, made by the local KMS, with the material that was current then. */
import { packValue, PROVIDER, unpackValue } from '../../domain/columnKey';
import { columnKeyContext, subjectContext } from '../../domain/encryptionContext';
import type { SubjectKey } from '../../stores/store';
import { REGIONS, type World } from '../harness/world';

const AT_ONCE = 40;

export const subjectId = (i: number): string => `user-${String(i).padStart(6, '0')}`;

/** Subject keys `from` to `to` (exclusive) of a purpose. */
export async function addSubjects(world: World, purpose: string, from: number, to: number, changes: Partial<SubjectKey> = {}): Promise<void> {
  const kms = world.application.get(REGIONS[0])!;
  const keyId = await world.keyId(purpose);
  const keyArn = `arn:aws:kms:${REGIONS[0]}:${world.config.account}:key/${keyId}`;
  let next = from;
  const lane = async (): Promise<void> => {
    for (let i = next++; i < to; i = next++) {
      const { ciphertext, material } = await kms.dataKey(keyId, subjectContext(world.config, purpose, subjectId(i)));
      await world.store.real.putSubjectKey({ subjectId: subjectId(i), purpose, encryptedKey: Buffer.from(ciphertext).toString('base64'), keyId, keyArn, keyMaterialId: material!, createdAt: new Date().toISOString(), ...changes });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
}

export async function addColumnKey(world: World, purpose: string, name: string): Promise<void> {
  const keyId = await world.keyId(purpose);
  const keyArn = `arn:aws:kms:${REGIONS[0]}:${world.config.account}:key/${keyId}`;
  const { ciphertext, material } = await world.application.get(REGIONS[0])!.dataKey(keyId, columnKeyContext(world.config, purpose, name));
  const value = Buffer.from(packValue({ provider: PROVIDER, keyArn, keyMaterialId: material!, ciphertext })).toString('base64');
  await world.store.real.putColumnKey({ name, purpose, values: [{ masterKey: `CMK_${purpose}_a`, value, keyId }] }, keyArn);
}

/** What the application gets: the plaintext of a subject's key. */
export async function openSubject(world: World, purpose: string, i: number): Promise<string> {
  const row = (await world.store.real.readSubjectKey(subjectId(i), purpose))!;
  return Buffer.from(await world.application.get(REGIONS[0])!.decrypt(row.keyId, Buffer.from(row.encryptedKey, 'base64'), subjectContext(world.config, purpose, row.subjectId))).toString('hex');
}

export async function openColumnKey(world: World, purpose: string, name: string): Promise<string> {
  const key = (await world.store.real.readColumnKey(name))!;
  const opened = await Promise.all(key.values.map(async (v) => Buffer.from(await world.application.get(REGIONS[0])!.decrypt(v.keyId, unpackValue(Buffer.from(v.value, 'base64')).ciphertext, columnKeyContext(world.config, purpose, name))).toString('hex')));
  if (new Set(opened).size !== 1) throw new Error(`the values of ${name} do not open to one key`);
  return opened[0]!;
}

/** Id of the material that is current in KMS, and how many on-demand rotations were made. */
export async function materialsNow(world: World, purpose: string): Promise<{ current: string; onDemand: number }> {
  const all = await world.operator.get(REGIONS[0])!.rotations(await world.keyId(purpose));
  return { current: all.find((r) => r.state === 'CURRENT')!.id, onDemand: all.filter((r) => r.type === 'ON_DEMAND').length };
}
