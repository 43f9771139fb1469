/**
 * What the service answers, as data. Sources: `recorded` = answers of the real AWS KMS, recorded by LocalStack's
 * validated tests (Apache-2.0); `documented` = AWS KMS Developer Guide and API reference; `chosen` = where neither says.
 * `<key>` stands for the key's ARN, `<region>` for the other Region.
 */
export interface ExpectedError { readonly when: string; readonly error: string; readonly message: string | RegExp; readonly source: 'recorded' | 'documented' | 'chosen' }

/** The SDK's stand-in for an answer that carries no message. */
export const NO_MESSAGE = 'UnknownError';

const ID = '134f2428-cec1-4b25-a1ae-9048164dba47';
export const UNKNOWN_ID = ID;
export const UNKNOWN_MRK = 'mrk-134f2428cec14b25a1ae9048164dba47';
const arn = (id: string): string => `arn:aws:kms:us-east-1:000000000000:key/${id}`;

const oaep: ExpectedError[] = [['RSA_2048', 214, 190], ['RSA_3072', 342, 318], ['RSA_4096', 470, 446]].flatMap(([spec, sha1, sha256]) => [
  { when: `encrypting too much with ${spec} and RSAES_OAEP_SHA_1`, error: 'ValidationException', message: `Algorithm RSAES_OAEP_SHA_1 and key spec ${spec} cannot encrypt data larger than ${sha1} bytes.`, source: 'recorded' as const },
  { when: `encrypting too much with ${spec} and RSAES_OAEP_SHA_256`, error: 'ValidationException', message: `Algorithm RSAES_OAEP_SHA_256 and key spec ${spec} cannot encrypt data larger than ${sha256} bytes.`, source: 'recorded' as const },
]);

export const EXPECTED_ERRORS: readonly ExpectedError[] = [
  ...oaep,
  { when: 'describing an unknown key id', error: 'NotFoundException', message: `Key '${arn(ID)}' does not exist`, source: 'recorded' },
  { when: 'describing an unknown key ARN', error: 'NotFoundException', message: `Key '${arn(ID)}' does not exist`, source: 'recorded' },
  { when: 'describing an unknown multi-Region key id', error: 'NotFoundException', message: `Key '${arn(UNKNOWN_MRK)}' does not exist`, source: 'recorded' },
  { when: 'describing fake-key-id', error: 'NotFoundException', message: "Invalid keyId 'fake-key-id'", source: 'recorded' },
  { when: 'describing a UUID without dashes', error: 'NotFoundException', message: "Invalid keyId '134f2428cec14b25a1ae9048164dba47'", source: 'recorded' },
  { when: 'describing mrk-fake-key-id', error: 'NotFoundException', message: "Invalid keyId 'mrk-fake-key-id'", source: 'recorded' },
  { when: 'describing a key before its replica exists in the Region', error: 'NotFoundException', message: /^Key 'arn:aws:kms:us-west-2:000000000000:key\/mrk-[0-9a-f]{32}' does not exist$/, source: 'recorded' },
  { when: 'describing an ARN of another Region', error: 'NotFoundException', message: 'Invalid arn us-west-2', source: 'recorded' },
  { when: 'creating an alias without its prefix', error: 'ValidationException', message: 'Alias must start with the prefix "alias/". Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html', source: 'recorded' },
  { when: 'creating an alias twice', error: 'AlreadyExistsException', message: /alias\/twice/, source: 'documented' },
  { when: 'deleting an alias twice', error: 'NotFoundException', message: /alias\/gone/, source: 'documented' },
  { when: 'creating an alias in the reserved space', error: 'ValidationException', message: /reserved/, source: 'documented' },
  { when: 'moving an alias to a key of another kind', error: 'ValidationException', message: /same type and key usage/, source: 'chosen' },
  { when: 'signing a digest of the wrong length', error: 'ValidationException', message: 'Digest is invalid length for algorithm RSASSA_PSS_SHA_256.', source: 'recorded' },
  { when: 'verifying a bad signature', error: 'KMSInvalidSignatureException', message: NO_MESSAGE, source: 'recorded' },
  { when: 'verifying a bad MAC', error: 'KMSInvalidMacException', message: NO_MESSAGE, source: 'recorded' },
  { when: 'making a MAC with an invalid key id', error: 'NotFoundException', message: "Invalid keyId 'key_id'", source: 'recorded' },
  { when: 'verifying a MAC with an invalid key id', error: 'NotFoundException', message: "Invalid keyId 'key_id'", source: 'recorded' },
  { when: 'decrypting a data key without its context', error: 'InvalidCiphertextException', message: NO_MESSAGE, source: 'recorded' },
  { when: 'decrypting the private key of a pair without its context', error: 'InvalidCiphertextException', message: NO_MESSAGE, source: 'recorded' },
  { when: 'decrypting garbage', error: 'InvalidCiphertextException', message: NO_MESSAGE, source: 'recorded' },
  { when: 'decrypting under another key', error: 'IncorrectKeyException', message: 'The key ID in the request does not identify a CMK that can perform this operation.', source: 'recorded' },
  { when: 'encrypting more than 4096 bytes', error: 'ValidationException', message: "1 validation error detected: Value at 'plaintext' failed to satisfy constraint: Member must have length less than or equal to 4096", source: 'recorded' },
  { when: 'encrypting with a signing key', error: 'InvalidKeyUsageException', message: '<key> key usage is SIGN_VERIFY which is not valid for Encrypt.', source: 'recorded' },
  { when: 'encrypting with an algorithm of another spec', error: 'InvalidKeyUsageException', message: 'Algorithm RSAES_OAEP_SHA_256 is incompatible with key spec SYMMETRIC_DEFAULT.', source: 'recorded' },
  { when: 'creating an HMAC key without usage', error: 'ValidationException', message: 'You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.', source: 'recorded' },
  { when: 'creating an RSA key without usage', error: 'ValidationException', message: 'You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.', source: 'recorded' },
  { when: 'tagging with the same tag key twice', error: 'TagException', message: 'Duplicate tag keys', source: 'recorded' },
  { when: 'creating a key with 51 tags', error: 'TagException', message: 'Too many tags', source: 'recorded' },
  { when: 'tagging a key with a reserved tag key', error: 'TagException', message: 'Tags beginning with aws: are reserved', source: 'recorded' },
  { when: 'creating a key with a tag key aws:x', error: 'TagException', message: 'Tags beginning with aws: are reserved', source: 'recorded' },
  { when: 'creating a key with a tag key AWS:x', error: 'TagException', message: 'Tags beginning with aws: are reserved', source: 'recorded' },
  { when: 'creating a key with a tag key of 129 characters', error: 'ValidationException', message: `1 validation error detected: Value '${'a'.repeat(129)}' at 'tags.1.member.tagKey' failed to satisfy constraint: Member must have length less than or equal to 128`, source: 'recorded' },
  { when: 'rotating an unknown key on demand', error: 'NotFoundException', message: `Key '${arn(ID)}' does not exist`, source: 'recorded' },
  { when: 'rotating an RSA key on demand', error: 'UnsupportedOperationException', message: NO_MESSAGE, source: 'recorded' },
  { when: 'rotating an HMAC key on demand', error: 'UnsupportedOperationException', message: NO_MESSAGE, source: 'recorded' },
  { when: 'rotating an imported key with nothing pending', error: 'KMSInvalidStateException', message: 'No available key material pending rotation for the key: <key>.', source: 'recorded' },
  { when: 'rotating a disabled key', error: 'DisabledException', message: '<key> is disabled.', source: 'recorded' },
  { when: 'rotating a key the 26th time', error: 'LimitExceededException', message: 'The on-demand rotations limit has been reached for the given keyId. No more on-demand rotations can be performed for this key: <key>', source: 'recorded' },
  { when: 'rotating within 20 minutes of an automatic rotation', error: 'ConflictException', message: /automatic rotation/, source: 'documented' },
  { when: 'enabling rotation with a period of 89 days', error: 'ValidationException', message: /greater than or equal to 90/, source: 'documented' },
  { when: 'generating a data key pair as a dry run', error: 'DryRunOperationException', message: 'The request would have succeeded, but the DryRun option is set.', source: 'recorded' },
  { when: 'generating a data key with a spec and a length', error: 'ValidationException', message: 'Please specify either number of bytes or key spec.', source: 'chosen' },
  { when: 'generating a data key with neither spec nor length', error: 'ValidationException', message: 'Please specify either number of bytes or key spec.', source: 'chosen' },
  { when: 'using a disabled key', error: 'DisabledException', message: '<key> is disabled.', source: 'recorded' },
  { when: 'using a key pending deletion', error: 'KMSInvalidStateException', message: '<key> is pending deletion.', source: 'recorded' },
  { when: 'scheduling a deletion twice', error: 'KMSInvalidStateException', message: '<key> is pending deletion.', source: 'recorded' },
  { when: 'cancelling a deletion that is not scheduled', error: 'KMSInvalidStateException', message: /^<key> is not pending deletion/, source: 'documented' },
  { when: 'scheduling a deletion in 6 days', error: 'ValidationException', message: /7 and 30/, source: 'documented' },
  { when: 'replicating a replica', error: 'UnsupportedOperationException', message: /^arn:aws:kms:us-west-2:\S+ is not a multi-region primary key\.$/, source: 'recorded' },
  { when: 'replicating a single-Region key', error: 'UnsupportedOperationException', message: '<key> is not a multi-region primary key.', source: 'recorded' },
  { when: 'replicating into a Region twice', error: 'AlreadyExistsException', message: /us-west-2/, source: 'documented' },
  { when: 'putting a policy that is not JSON', error: 'MalformedPolicyDocumentException', message: /JSON/, source: 'documented' },
  { when: 'putting a policy above 32,768 bytes', error: 'LimitExceededException', message: /too large/, source: 'documented' },
  { when: 'putting a policy that locks its caller out', error: 'MalformedPolicyDocumentException', message: 'The new key policy will not allow you to update the key policy in the future.', source: 'documented' },
  { when: 'listing with a made-up marker', error: 'InvalidMarkerException', message: /marker/i, source: 'documented' },
];

/** Recorded KeyMetadata of new keys: fields that do not differ from run to run. */
export const EXPECTED_METADATA = {
  symmetric: {
    AWSAccountId: '000000000000', CustomerMasterKeySpec: 'SYMMETRIC_DEFAULT', Enabled: true, EncryptionAlgorithms: ['SYMMETRIC_DEFAULT'], KeyManager: 'CUSTOMER',
    KeySpec: 'SYMMETRIC_DEFAULT', KeyState: 'Enabled', KeyUsage: 'ENCRYPT_DECRYPT', MultiRegion: false, Origin: 'AWS_KMS',
  },
  hmac: {
    AWSAccountId: '000000000000', CustomerMasterKeySpec: 'HMAC_256', Enabled: true, KeyManager: 'CUSTOMER', KeySpec: 'HMAC_256', KeyState: 'Enabled', KeyUsage: 'GENERATE_VERIFY_MAC',
    MacAlgorithms: ['HMAC_SHA_256'], MultiRegion: false, Origin: 'AWS_KMS',
  },
} as const;

/** What the table's cells answer; `<key>` is the key's ARN. */
export const CELLS: Readonly<Record<string, { error: string; message: string | RegExp }>> = {
  D: { error: 'DisabledException', message: '<key> is disabled.' },
  P: { error: 'KMSInvalidStateException', message: /^<key> is pending deletion( \(or pending replica deletion\))?\.$/ },
  N: { error: 'KMSInvalidStateException', message: /^<key> is not pending deletion/ },
  I: { error: 'KMSInvalidStateException', message: '<key> is pending import.' },
  E: { error: 'UnsupportedOperationException', message: '<key> origin is EXTERNAL which is not valid for this operation.' },
  U: { error: 'KMSInvalidStateException', message: '<key> is unavailable.' },
  C: { error: 'KMSInvalidStateException', message: '<key> is creating.' },
  G: { error: 'KMSInvalidStateException', message: '<key> is updating.' },
  X: { error: 'UnsupportedOperationException', message: /.*/ },
};

/** Columns: Enabled, Disabled, pending (replica) deletion, PendingImport, Unavailable, Creating, Updating. `o` = OK, `-` = cannot be. Source: AWS KMS Developer Guide, key-state table. */
export const STATE_ROWS: Readonly<Record<string, string>> = {
  DescribeKey: 'ooooooo',
  Encrypt: 'oDPIUCo',
  Decrypt: 'oDPIUCo',
  ReEncrypt: 'oDPIUCo',
  GenerateDataKey: 'oDPIUCo',
  GenerateDataKeyWithoutPlaintext: 'oDPIUCo',
  GenerateDataKeyPair: 'oDPIXCo',
  Sign: 'oDP--Co',
  Verify: 'oDP--Co',
  GenerateMac: 'oDP--Co',
  VerifyMac: 'oDP--Co',
  GetPublicKey: 'ooP--Co',
  EnableKey: 'ooPIoCG',
  DisableKey: 'ooPIoCG',
  EnableKeyRotation: 'oDPEXCo',
  DisableKeyRotation: 'oDPEXCo',
  GetKeyRotationStatus: 'oooEXoo',
  RotateKeyOnDemand: 'oDPIXCo',
  ListKeyRotations: 'ooooXoo',
  ScheduleKeyDeletion: 'ooPoooG',
  CancelKeyDeletion: 'NNoNNNN',
  ReplicateKey: 'oDPI-CG',
  UpdatePrimaryRegion: 'oDPI-Co',
  CreateAlias: 'ooPoooo',
  UpdateAlias: 'ooPoooo',
  DeleteAlias: 'ooooooo',
  ListAliases: 'ooooooo',
  GetKeyPolicy: 'ooooooo',
  ListKeyPolicies: 'ooooooo',
  PutKeyPolicy: 'ooooooo',
  TagResource: 'ooPoooo',
  UntagResource: 'ooPoooo',
  UpdateKeyDescription: 'ooPoooo',
  ListResourceTags: 'ooooooo',
  CreateGrant: 'oDPIoCo',
  ListGrants: 'ooooooo',
  RevokeGrant: 'ooooooo',
  RetireGrant: 'ooooooo',
  GetKeyLastUsage: 'ooooooo',
  GetParametersForImport: 'XXXoXCG',
};
