/** GenerateMac and VerifyMac. Source: RFC 2104 by node:crypto; the key's length is its hash's. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { authorize } from './authorization';
import { operation, type Call } from './call';
import { dryRun, invalidKeyUsage, invalidMac } from './errors';
import * as fields from './fields';
import { checkState } from './key-state';
import { MAC_ALGORITHMS, specificationOf } from './key-specs';
import { findKey, type Key } from './key-lookup';
import { currentMaterial, rawBytes } from './material';
import { blob, oneOf, required } from './validate';

const shape = { KeyId: fields.keyId, Message: fields.message, MacAlgorithm: required(oneOf(MAC_ALGORITHMS)), GrantTokens: fields.grantTokens, DryRun: fields.dryRunFlag };

function macKey(call: Call, input: { KeyId: string; MacAlgorithm: string; GrantTokens: string[] | undefined }): Key {
  const key = findKey(call, input.KeyId, 'with-aliases');
  authorize(call, call.operation, key, { grantTokens: input.GrantTokens, values: { 'kms:macalgorithm': [input.MacAlgorithm] } });
  const { keyUsage, keySpec } = key.shared;
  if (keyUsage !== 'GENERATE_VERIFY_MAC') throw invalidKeyUsage(`${key.arn} key usage is ${keyUsage} which is not valid for ${call.operation}.`);
  if (!specificationOf(keySpec).mac.includes(input.MacAlgorithm)) throw invalidKeyUsage(`Algorithm ${input.MacAlgorithm} is incompatible with key spec ${keySpec}.`);
  checkState(call, key);
  return key;
}

const macOf = (key: Key, algorithm: string, message: Buffer): Buffer =>
  createHmac(algorithm.replace('HMAC_SHA_', 'sha'), rawBytes(currentMaterial(key.shared))).update(message).digest();

export const macOperations = [
  operation('GenerateMac', shape, (call, input) => {
    const key = macKey(call, input);
    if (input.DryRun) throw dryRun();
    return { Mac: macOf(key, input.MacAlgorithm, input.Message).toString('base64'), MacAlgorithm: input.MacAlgorithm, KeyId: key.arn };
  }),

  operation('VerifyMac', { ...shape, Mac: required(blob(1, 6144)) }, (call, input) => {
    const key = macKey(call, input);
    const expected = macOf(key, input.MacAlgorithm, input.Message);
    if (expected.length !== input.Mac.length || !timingSafeEqual(expected, input.Mac)) throw invalidMac();
    if (input.DryRun) throw dryRun();
    return { KeyId: key.arn, MacValid: true, MacAlgorithm: input.MacAlgorithm };
  }),
];
