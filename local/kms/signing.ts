/** Sign, Verify, GetPublicKey for RSA and ECC keys. ECDSA signatures are DER, PSS salts are as long as the hash. */
import { constants, createPublicKey, sign, verify, type KeyObject } from 'node:crypto';
import { authorize } from './authorization';
import { operation, type Call } from './call';
import { dryRun, invalidKeyUsage, invalidSignature, unsupported, validation } from './errors';
import * as fields from './fields';
import { checkState } from './key-state';
import { SIGNING_ALGORITHMS, specificationOf } from './key-specs';
import { findKey, type Key } from './key-lookup';
import { currentMaterial, privateKeyOf } from './material';
import { signDigest, verifyDigest } from './digest-signing';
import { blob, oneOf, required } from './validate';

const shape = {
  KeyId: fields.keyId, Message: fields.message, MessageType: oneOf(['RAW', 'DIGEST']), GrantTokens: fields.grantTokens,
  SigningAlgorithm: required(oneOf(SIGNING_ALGORITHMS)), DryRun: fields.dryRunFlag,
};

interface SigningInput { KeyId: string; Message: Buffer; MessageType: string | undefined; GrantTokens: string[] | undefined; SigningAlgorithm: string }

export const hashOf = (algorithm: string): { name: string; bytes: number } => {
  const bits = Number(algorithm.slice(-3));
  return { name: `sha${bits}`, bytes: bits / 8 };
};

function signingKey(call: Call, input: SigningInput): Key {
  const key = findKey(call, input.KeyId, 'with-aliases');
  authorize(call, call.operation, key, { grantTokens: input.GrantTokens, values: { 'kms:signingalgorithm': [input.SigningAlgorithm], 'kms:messagetype': [input.MessageType ?? 'RAW'] } });
  const { keyUsage, keySpec } = key.shared;
  if (keyUsage !== 'SIGN_VERIFY') throw invalidKeyUsage(`${key.arn} key usage is ${keyUsage} which is not valid for ${call.operation}.`);
  if (!specificationOf(keySpec).signing.includes(input.SigningAlgorithm)) throw invalidKeyUsage(`Algorithm ${input.SigningAlgorithm} is incompatible with key spec ${keySpec}.`);
  checkState(call, key);
  if (input.MessageType === 'DIGEST' && input.Message.length !== hashOf(input.SigningAlgorithm).bytes) throw validation(`Digest is invalid length for algorithm ${input.SigningAlgorithm}.`);
  return key;
}

const padded = (key: KeyObject, algorithm: string) => (algorithm.startsWith('RSASSA_PSS')
  ? { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
  : { key, dsaEncoding: 'der' as const });

export const signingOperations = [
  operation('Sign', shape, (call, input) => {
    const key = signingKey(call, input);
    if (input.DryRun) throw dryRun();
    const privateKey = privateKeyOf(currentMaterial(key.shared));
    const signature = input.MessageType === 'DIGEST'
      ? signDigest(privateKey, input.SigningAlgorithm, input.Message)
      : sign(hashOf(input.SigningAlgorithm).name, input.Message, padded(privateKey, input.SigningAlgorithm));
    return { KeyId: key.arn, Signature: signature.toString('base64'), SigningAlgorithm: input.SigningAlgorithm };
  }),

  operation('Verify', { ...shape, Signature: required(blob(1, 6144)) }, (call, input) => {
    const key = signingKey(call, input);
    const publicKey = createPublicKey(privateKeyOf(currentMaterial(key.shared)));
    const valid = input.MessageType === 'DIGEST'
      ? verifyDigest(publicKey, input.SigningAlgorithm, input.Message, input.Signature)
      : verify(hashOf(input.SigningAlgorithm).name, input.Message, padded(publicKey, input.SigningAlgorithm), input.Signature);
    if (!valid) throw invalidSignature();
    if (input.DryRun) throw dryRun();
    return { KeyId: key.arn, SignatureValid: true, SigningAlgorithm: input.SigningAlgorithm };
  }),

  operation('GetPublicKey', { KeyId: fields.keyId, GrantTokens: fields.grantTokens }, (call, { KeyId, GrantTokens }) => {
    const key = findKey(call, KeyId, 'with-aliases');
    authorize(call, 'GetPublicKey', key, { grantTokens: GrantTokens });
    const { shared } = key;
    const specification = specificationOf(shared.keySpec);
    if (specification.family !== 'rsa' && specification.family !== 'ecc') throw unsupported(`${key.arn} is not an asymmetric key.`);
    checkState(call, key);
    return {
      KeyId: key.arn,
      PublicKey: createPublicKey(privateKeyOf(currentMaterial(shared))).export({ type: 'spki', format: 'der' }).toString('base64'),
      CustomerMasterKeySpec: shared.keySpec,
      KeySpec: shared.keySpec,
      KeyUsage: shared.keyUsage,
      ...(shared.keyUsage === 'SIGN_VERIFY' ? { SigningAlgorithms: specification.signing } : { EncryptionAlgorithms: specification.encryption }),
    };
  }),
];
