/** Encrypt, Decrypt, ReEncrypt. */
import { authorize } from './authorization';
import { operation, type Call } from './call';
import { open, readHeader, seal } from './ciphertext';
import { dryRun, incorrectKey, invalidCiphertext, invalidKeyUsage, validation } from './errors';
import * as fields from './fields';
import { checkState } from './key-state';
import { ENCRYPTION_ALGORITHMS, specificationOf } from './key-specs';
import { findKey, keyIn, type Key } from './key-lookup';
import { currentMaterial } from './material';
import { rsaDecrypt, rsaEncrypt } from './rsa-encryption';
import { list, oneOf, type Field } from './validate';

type Context = Record<string, string>;
const algorithmField = oneOf(ENCRYPTION_ALGORITHMS);
const modifiers = list(oneOf(['IGNORE_CIPHERTEXT']) as Field<string>);
const SYMMETRIC = 'SYMMETRIC_DEFAULT';

/** Throws InvalidKeyUsageException where the key is made for something else, or its spec does not know the algorithm. */
export function checkEncryptionKey({ arn, shared }: Key, algorithm: string, operationName: string): void {
  if (shared.keyUsage !== 'ENCRYPT_DECRYPT') throw invalidKeyUsage(`${arn} key usage is ${shared.keyUsage} which is not valid for ${operationName}.`);
  if (!specificationOf(shared.keySpec).encryption.includes(algorithm)) throw invalidKeyUsage(`Algorithm ${algorithm} is incompatible with key spec ${shared.keySpec}.`);
}

function checkContext(algorithm: string, context: Context | undefined): void {
  if (algorithm !== SYMMETRIC && context !== undefined && Object.keys(context).length > 0) throw validation(`EncryptionContext is not supported with algorithm ${algorithm}.`);
}

/** Context keys go into the record of the call, its values do not. */
export const traceContext = (call: Call, context: Context | undefined): void => {
  if (context !== undefined) call.trace.encryptionContextKeys = Object.keys(context).sort();
};

const encryptUnder = (key: Key, algorithm: string, plaintext: Buffer, context: Context | undefined): Buffer =>
  algorithm === SYMMETRIC ? seal(key.shared.keyId, currentMaterial(key.shared), plaintext, context ?? {}) : rsaEncrypt(key.shared, algorithm, plaintext);

function decryptUnder(key: Key, algorithm: string, blob: Buffer, context: Context | undefined): { plaintext: Buffer; materialId?: string } {
  return algorithm === SYMMETRIC ? open(key.shared, blob, context ?? {}) : { plaintext: rsaDecrypt(key.shared, algorithm, blob) };
}

/** The key of a ciphertext: named by a symmetric blob itself, by the caller for RSA. Both given, they must agree. */
function findDecryptionKey(call: Call, reference: string | undefined, algorithm: string, blob: Buffer | undefined): Key {
  const named = reference === undefined ? undefined : findKey(call, reference, 'with-aliases');
  if (algorithm !== SYMMETRIC || blob === undefined) {
    if (named === undefined) throw validation('KeyId is required when the encryption algorithm is asymmetric or the ciphertext is ignored.');
    return named;
  }
  const header = readHeader(blob);
  if (header === undefined) throw invalidCiphertext();
  if (named === undefined) return keyIn(call, call.region, header.keyId);
  if (named.shared.keyId !== header.keyId) throw incorrectKey();
  return named;
}

/** The blob to work on; none only in a dry run that asks for permission alone. */
function ciphertextOf(input: { CiphertextBlob: Buffer | undefined; DryRun: boolean | undefined; DryRunModifiers: string[] | undefined }): Buffer | undefined {
  const ignored = input.DryRun === true && (input.DryRunModifiers ?? []).includes('IGNORE_CIPHERTEXT');
  if (ignored) return undefined;
  if (input.CiphertextBlob === undefined) throw validation("1 validation error detected: Value null at 'ciphertextBlob' failed to satisfy constraint: Member must not be null");
  return input.CiphertextBlob;
}

const algorithmValue = (algorithm: string) => ({ 'kms:encryptionalgorithm': [algorithm] });

export const encryptionOperations = [
  operation('Encrypt', {
    KeyId: fields.keyId, Plaintext: fields.plaintext, EncryptionContext: fields.encryptionContext, GrantTokens: fields.grantTokens, EncryptionAlgorithm: algorithmField, DryRun: fields.dryRunFlag,
  }, (call, input) => {
    const algorithm = input.EncryptionAlgorithm ?? SYMMETRIC;
    traceContext(call, input.EncryptionContext);
    const key = findKey(call, input.KeyId, 'with-aliases');
    authorize(call, 'Encrypt', key, { encryptionContext: input.EncryptionContext, grantTokens: input.GrantTokens, values: algorithmValue(algorithm) });
    checkEncryptionKey(key, algorithm, 'Encrypt');
    checkState(call, key);
    checkContext(algorithm, input.EncryptionContext);
    const ciphertext = encryptUnder(key, algorithm, input.Plaintext, input.EncryptionContext);
    if (input.DryRun) throw dryRun();
    return { CiphertextBlob: ciphertext.toString('base64'), KeyId: key.arn, EncryptionAlgorithm: algorithm };
  }),

  operation('Decrypt', {
    CiphertextBlob: fields.ciphertext, EncryptionContext: fields.encryptionContext, GrantTokens: fields.grantTokens, KeyId: fields.optionalKeyId, EncryptionAlgorithm: algorithmField,
    DryRun: fields.dryRunFlag, DryRunModifiers: modifiers,
  }, (call, input) => {
    const algorithm = input.EncryptionAlgorithm ?? SYMMETRIC;
    traceContext(call, input.EncryptionContext);
    const blob = ciphertextOf(input);
    const key = findDecryptionKey(call, input.KeyId, algorithm, blob);
    authorize(call, 'Decrypt', key, { encryptionContext: input.EncryptionContext, grantTokens: input.GrantTokens, values: algorithmValue(algorithm) });
    checkEncryptionKey(key, algorithm, 'Decrypt');
    checkState(call, key);
    checkContext(algorithm, input.EncryptionContext);
    const opened = blob === undefined ? undefined : decryptUnder(key, algorithm, blob, input.EncryptionContext);
    if (opened === undefined || input.DryRun) throw dryRun();
    return { KeyId: key.arn, Plaintext: opened.plaintext.toString('base64'), EncryptionAlgorithm: algorithm, ...(opened.materialId === undefined ? {} : { KeyMaterialId: opened.materialId }) };
  }),

  operation('ReEncrypt', {
    CiphertextBlob: fields.ciphertext, SourceEncryptionContext: fields.encryptionContext, SourceKeyId: fields.optionalKeyId, DestinationKeyId: fields.keyId,
    DestinationEncryptionContext: fields.encryptionContext, SourceEncryptionAlgorithm: algorithmField, DestinationEncryptionAlgorithm: algorithmField,
    GrantTokens: fields.grantTokens, DryRun: fields.dryRunFlag, DryRunModifiers: modifiers,
  }, (call, input) => {
    const from = input.SourceEncryptionAlgorithm ?? SYMMETRIC;
    const to = input.DestinationEncryptionAlgorithm ?? SYMMETRIC;
    traceContext(call, input.SourceEncryptionContext ?? input.DestinationEncryptionContext);
    const blob = ciphertextOf(input);
    const source = findDecryptionKey(call, input.SourceKeyId, from, blob);
    const destination = findKey(call, input.DestinationKeyId, 'with-aliases');
    const same = { 'kms:reencryptonsamekey': [String(source.shared.keyId === destination.shared.keyId)] };
    authorize(call, 'ReEncryptFrom', source, { encryptionContext: input.SourceEncryptionContext, grantTokens: input.GrantTokens, values: { ...same, ...algorithmValue(from) } });
    authorize(call, 'ReEncryptTo', destination, { encryptionContext: input.DestinationEncryptionContext, grantTokens: input.GrantTokens, values: { ...same, ...algorithmValue(to) } });
    checkEncryptionKey(source, from, 'ReEncrypt');
    checkEncryptionKey(destination, to, 'ReEncrypt');
    checkState(call, source);
    checkState(call, destination);
    checkContext(from, input.SourceEncryptionContext);
    checkContext(to, input.DestinationEncryptionContext);
    const opened = blob === undefined ? undefined : decryptUnder(source, from, blob, input.SourceEncryptionContext);
    if (opened === undefined || input.DryRun) throw dryRun();
    const ciphertext = encryptUnder(destination, to, opened.plaintext, input.DestinationEncryptionContext);
    return {
      CiphertextBlob: ciphertext.toString('base64'),
      SourceKeyId: source.arn,
      KeyId: destination.arn,
      SourceEncryptionAlgorithm: from,
      DestinationEncryptionAlgorithm: to,
      ...(opened.materialId === undefined ? {} : { SourceKeyMaterialId: opened.materialId }),
      ...(to === SYMMETRIC ? { DestinationKeyMaterialId: currentMaterial(destination.shared).id } : {}),
    };
  }),
];
