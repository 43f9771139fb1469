/**
 * GetParametersForImport and ImportKeyMaterial, for the first material of a symmetric EXTERNAL key.
 * Not done: expiry, DeleteImportedKeyMaterial, second materials for on-demand rotation.
 */
import { constants, createHash, generateKeyPairSync, privateDecrypt, randomBytes, type KeyObject } from 'node:crypto';
import { authorize } from './authorization';
import { operation } from './call';
import { incompatibleMaterial, KmsError, unsupported } from './errors';
import * as fields from './fields';
import { checkState } from './key-state';
import { findKey, type Key } from './key-lookup';
import { DAY, epochSeconds, regionalId } from './model';
import { blob, instant, oneOf, required, text } from './validate';

const HASH: Record<string, string> = { RSAES_OAEP_SHA_1: 'sha1', RSAES_OAEP_SHA_256: 'sha256' };

/** Offers are for minutes, so they live in memory: after a restart the caller asks again. */
const offers = new Map<string, { arn: string; privateKey: KeyObject; oaepHash: string; until: number }>();

function checkExternal({ shared }: Key): void {
  if (shared.origin !== 'EXTERNAL') throw unsupported();
}

export const materialImportOperations = [
  operation('GetParametersForImport', {
    KeyId: fields.keyId, WrappingAlgorithm: required(oneOf(['RSAES_OAEP_SHA_1', 'RSAES_OAEP_SHA_256'])), WrappingKeySpec: required(oneOf(['RSA_2048', 'RSA_3072', 'RSA_4096'])),
  }, (call, { KeyId, WrappingAlgorithm, WrappingKeySpec }) => {
    const key = findKey(call, KeyId);
    authorize(call, 'GetParametersForImport', key);
    checkState(call, key);
    checkExternal(key);
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: Number(WrappingKeySpec.slice(4)) });
    const token = randomBytes(48).toString('base64');
    const until = call.now + DAY;
    offers.set(token, { arn: key.arn, privateKey, oaepHash: HASH[WrappingAlgorithm]!, until });
    return { KeyId: key.arn, ImportToken: token, PublicKey: publicKey.export({ type: 'spki', format: 'der' }).toString('base64'), ParametersValidTo: epochSeconds(until) };
  }),

  operation('ImportKeyMaterial', {
    KeyId: fields.keyId, ImportToken: required(blob(1, 6144)), EncryptedKeyMaterial: required(blob(1, 6144)), ValidTo: instant(),
    ExpirationModel: oneOf(['KEY_MATERIAL_EXPIRES', 'KEY_MATERIAL_DOES_NOT_EXPIRE']), ImportType: oneOf(['NEW_KEY_MATERIAL', 'EXISTING_KEY_MATERIAL']), KeyMaterialDescription: text(0, 256),
  }, (call, input) => {
    const key = findKey(call, input.KeyId);
    authorize(call, 'ImportKeyMaterial', key);
    checkState(call, key);
    checkExternal(key);
    if (input.ExpirationModel !== 'KEY_MATERIAL_DOES_NOT_EXPIRE') throw unsupported('The local KMS imports only material that does not expire');
    const token = input.ImportToken.toString('base64');
    const offer = offers.get(token);
    if (offer === undefined || offer.arn !== key.arn) throw new KmsError('InvalidImportTokenException');
    if (offer.until < call.now) throw new KmsError('ExpiredImportTokenException');
    const bytes = unwrap(offer.privateKey, offer.oaepHash, input.EncryptedKeyMaterial);
    if (bytes.length !== 32) throw incompatibleMaterial();
    offers.delete(token);
    const material = { id: createHash('sha256').update(bytes).digest('hex'), bytes: bytes.toString('base64') };
    call.put('shared', key.shared.keyId, { ...key.shared, materials: [material] });
    call.put('key', regionalId(call.region, key.shared.keyId), { ...key.regional, state: 'Enabled' });
    return { KeyId: key.arn, KeyMaterialId: material.id };
  }),
];

function unwrap(privateKey: KeyObject, oaepHash: string, wrapped: Buffer): Buffer {
  try {
    return privateDecrypt({ key: privateKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash }, wrapped);
  } catch {
    throw new KmsError('InvalidCiphertextException');
  }
}
