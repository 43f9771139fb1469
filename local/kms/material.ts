/** Key material: made, named, and turned into the key objects that node:crypto works with. */
import { createHash, createPrivateKey, generateKeyPair, randomBytes, randomUUID, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import type { Material, SharedKey } from './model';
import { specificationOf } from './key-specs';

const makeKeyPair = promisify(generateKeyPair) as (type: string, options: object) => Promise<{ privateKey: KeyObject; publicKey: KeyObject }>;

export const newKeyId = (multiRegion: boolean): string => (multiRegion ? `mrk-${randomBytes(16).toString('hex')}` : randomUUID());
const newMaterialId = (): string => createHash('sha256').update(randomBytes(32)).digest('hex');

export const symmetricMaterial = (size = 32): Material => ({ id: newMaterialId(), bytes: randomBytes(size).toString('base64') });

export async function newMaterial(keySpec: string): Promise<Material> {
  const { family, size } = specificationOf(keySpec);
  return family === 'rsa' || family === 'ecc' ? { id: newMaterialId(), bytes: (await newKeyPair(keySpec)).privateDer.toString('base64') } : symmetricMaterial(size);
}

/** PKCS #8 and SPKI, both DER. */
export async function newKeyPair(keySpec: string): Promise<{ privateDer: Buffer; publicDer: Buffer }> {
  const { family, size, curve } = specificationOf(keySpec);
  const { privateKey, publicKey } = await makeKeyPair(family === 'rsa' ? 'rsa' : 'ec', { modulusLength: size, namedCurve: curve });
  return { privateDer: privateKey.export({ type: 'pkcs8', format: 'der' }), publicDer: publicKey.export({ type: 'spki', format: 'der' }) };
}

const decoded = new WeakMap<Material, Buffer>();
const privateKeys = new WeakMap<Material, KeyObject>();

export function rawBytes(material: Material): Buffer {
  let bytes = decoded.get(material);
  if (bytes === undefined) decoded.set(material, (bytes = Buffer.from(material.bytes, 'base64')));
  return bytes;
}

export function privateKeyOf(material: Material): KeyObject {
  let key = privateKeys.get(material);
  if (key === undefined) privateKeys.set(material, (key = createPrivateKey({ key: rawBytes(material), type: 'pkcs8', format: 'der' })));
  return key;
}

/** The generation that new ciphertext is made under. A key that passed its state check has one. */
export function currentMaterial(shared: SharedKey): Material {
  const material = shared.materials.at(-1);
  if (material === undefined) throw new Error(`key ${shared.keyId} has no material`);
  return material;
}
