/** GenerateDataKey, GenerateDataKeyPair (each also without plaintext), GenerateRandom. */
import { randomBytes } from 'node:crypto';
import { authorize, authorizeByIdentity } from './authorization';
import { operation, type Call } from './call';
import { seal } from './ciphertext';
import { dryRun, unsupported, validation } from './errors';
import * as fields from './fields';
import { checkState } from './key-state';
import { findKey, type Key } from './key-lookup';
import { checkEncryptionKey, traceContext } from './encryption';
import { currentMaterial, newKeyPair } from './material';
import { integer, oneOf, required } from './validate';

const common = { KeyId: fields.keyId, EncryptionContext: fields.encryptionContext, GrantTokens: fields.grantTokens, DryRun: fields.dryRunFlag };
const dataKeyShape = { ...common, NumberOfBytes: integer(1, 1024), KeySpec: oneOf(['AES_256', 'AES_128']) };
const keyPairShape = { ...common, KeyPairSpec: required(oneOf(['RSA_2048', 'RSA_3072', 'RSA_4096', 'ECC_NIST_P256', 'ECC_NIST_P384', 'ECC_NIST_P521', 'ECC_SECG_P256K1'])) };

interface CommonInput { KeyId: string; EncryptionContext: Record<string, string> | undefined; GrantTokens: string[] | undefined; DryRun: boolean | undefined }

/** The wrapping key, checked: permission, usage, state; ends a dry run. */
function wrappingKey(call: Call, input: CommonInput, values?: Record<string, string[]>): Key {
  traceContext(call, input.EncryptionContext);
  const key = findKey(call, input.KeyId, 'with-aliases');
  authorize(call, call.operation, key, { encryptionContext: input.EncryptionContext, grantTokens: input.GrantTokens, values });
  checkEncryptionKey(key, 'SYMMETRIC_DEFAULT', call.operation);
  checkState(call, key);
  if (input.DryRun) throw dryRun();
  return key;
}

function lengthOf({ KeySpec, NumberOfBytes }: { KeySpec: string | undefined; NumberOfBytes: number | undefined }): number {
  if ((KeySpec === undefined) === (NumberOfBytes === undefined)) throw validation('Please specify either number of bytes or key spec.');
  return NumberOfBytes ?? (KeySpec === 'AES_128' ? 16 : 32);
}

const wrap = (key: Key, plaintext: Buffer, { EncryptionContext = {} }: CommonInput): { blob: string; KeyMaterialId: string } => {
  const material = currentMaterial(key.shared);
  return { blob: seal(key.shared.keyId, material, plaintext, EncryptionContext).toString('base64'), KeyMaterialId: material.id };
};

const dataKey = (name: string, withPlaintext: boolean) => operation(name, dataKeyShape, (call, input) => {
  const length = lengthOf(input);
  const key = wrappingKey(call, input);
  const plaintext = randomBytes(length);
  const { blob: CiphertextBlob, KeyMaterialId } = wrap(key, plaintext, input);
  return { CiphertextBlob, ...(withPlaintext ? { Plaintext: plaintext.toString('base64') } : {}), KeyId: key.arn, KeyMaterialId };
});

const keyPair = (name: string, withPlaintext: boolean) => operation(name, keyPairShape, async (call, input) => {
  const key = wrappingKey(call, input, { 'kms:datakeypairspec': [input.KeyPairSpec] });
  const { privateDer, publicDer } = await newKeyPair(input.KeyPairSpec);
  const { blob: PrivateKeyCiphertextBlob, KeyMaterialId } = wrap(key, privateDer, input);
  return {
    PrivateKeyCiphertextBlob,
    ...(withPlaintext ? { PrivateKeyPlaintext: privateDer.toString('base64') } : {}),
    PublicKey: publicDer.toString('base64'),
    KeyId: key.arn,
    KeyPairSpec: input.KeyPairSpec,
    KeyMaterialId,
  };
});

export const dataKeyOperations = [
  dataKey('GenerateDataKey', true),
  dataKey('GenerateDataKeyWithoutPlaintext', false),
  keyPair('GenerateDataKeyPair', true),
  keyPair('GenerateDataKeyPairWithoutPlaintext', false),

  operation('GenerateRandom', { NumberOfBytes: integer(1, 1024), CustomKeyStoreId: fields.optionalKeyId }, (call, { NumberOfBytes, CustomKeyStoreId }) => {
    authorizeByIdentity(call, 'GenerateRandom');
    if (CustomKeyStoreId !== undefined) throw unsupported('The local KMS has no custom key stores');
    if (NumberOfBytes === undefined) throw validation('NumberOfBytes is required.');
    return { Plaintext: randomBytes(NumberOfBytes).toString('base64') };
  }),
];
