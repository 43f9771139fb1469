/**
 * Key state × operation, as pure tables. Source: AWS KMS Developer Guide, "Key states of AWS KMS keys", with the
 * choice between DisabledException and KMSInvalidStateException for pending deletion taken from recorded answers.
 */
import { disabled, invalidState, unsupported, type KmsError } from './errors';

export type KeyState = 'Enabled' | 'Disabled' | 'PendingDeletion' | 'PendingReplicaDeletion' | 'PendingImport' | 'Unavailable' | 'Creating' | 'Updating';
export const KEY_STATES: readonly KeyState[] = ['Enabled', 'Disabled', 'PendingDeletion', 'PendingReplicaDeletion', 'PendingImport', 'Unavailable', 'Creating', 'Updating'];

/** `ok`, or the name of the refusal in `REFUSALS`. */
export type Cell = 'ok' | keyof typeof REFUSALS;

const pendingText = (state: KeyState): string => (state === 'PendingReplicaDeletion' ? 'is pending deletion (or pending replica deletion).' : 'is pending deletion.');

const REFUSALS = {
  disabled: (arn: string) => disabled(`${arn} is disabled.`),
  // AWS's documented alarm looks for the fragment "is pending deletion", so every variant holds it
  pendingDeletion: (arn: string, state: KeyState) => invalidState(`${arn} ${pendingText(state)}`),
  notPendingDeletion: (arn: string) => invalidState(`${arn} is not pending deletion (or pending replica deletion).`),
  pendingImport: (arn: string) => invalidState(`${arn} is pending import.`),
  external: (arn: string) => unsupported(`${arn} origin is EXTERNAL which is not valid for this operation.`),
  unsupported: () => unsupported(),
  unavailable: (arn: string) => invalidState(`${arn} is unavailable.`),
  creating: (arn: string) => invalidState(`${arn} is creating.`),
  updating: (arn: string) => invalidState(`${arn} is updating.`),
} satisfies Record<string, (arn: string, state: KeyState) => KmsError>;

type Row = Record<KeyState, Cell>;
const row = (Enabled: Cell, Disabled: Cell, pending: Cell, PendingImport: Cell, Unavailable: Cell, Creating: Cell, Updating: Cell): Row =>
  ({ Enabled, Disabled, PendingDeletion: pending, PendingReplicaDeletion: pending, PendingImport, Unavailable, Creating, Updating });

const always = row('ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok');
const cryptographic = row('ok', 'disabled', 'pendingDeletion', 'pendingImport', 'unavailable', 'creating', 'ok');
const keyPair = row('ok', 'disabled', 'pendingDeletion', 'pendingImport', 'unsupported', 'creating', 'ok');
const switching = row('ok', 'ok', 'pendingDeletion', 'pendingImport', 'ok', 'creating', 'updating');
const rotationSetting = row('ok', 'disabled', 'pendingDeletion', 'external', 'unsupported', 'creating', 'ok');
const labelling = row('ok', 'ok', 'pendingDeletion', 'ok', 'ok', 'ok', 'ok');
const placement = row('ok', 'disabled', 'pendingDeletion', 'pendingImport', 'unsupported', 'creating', 'updating');

export const STATE_TABLE: Readonly<Record<string, Row>> = {
  DescribeKey: always,
  GetKeyLastUsage: always,
  Encrypt: cryptographic,
  Decrypt: cryptographic,
  ReEncrypt: cryptographic,
  GenerateDataKey: cryptographic,
  GenerateDataKeyWithoutPlaintext: cryptographic,
  GenerateDataKeyPair: keyPair,
  GenerateDataKeyPairWithoutPlaintext: keyPair,
  Sign: keyPair,
  Verify: keyPair,
  GenerateMac: keyPair,
  VerifyMac: keyPair,
  GetPublicKey: row('ok', 'ok', 'pendingDeletion', 'ok', 'unsupported', 'creating', 'ok'),
  EnableKey: switching,
  DisableKey: switching,
  EnableKeyRotation: rotationSetting,
  DisableKeyRotation: rotationSetting,
  GetKeyRotationStatus: row('ok', 'ok', 'ok', 'external', 'unsupported', 'ok', 'ok'),
  RotateKeyOnDemand: row('ok', 'disabled', 'pendingDeletion', 'pendingImport', 'unsupported', 'creating', 'ok'),
  ListKeyRotations: row('ok', 'ok', 'ok', 'ok', 'unsupported', 'ok', 'ok'),
  ScheduleKeyDeletion: row('ok', 'ok', 'pendingDeletion', 'ok', 'ok', 'ok', 'updating'),
  CancelKeyDeletion: row('notPendingDeletion', 'notPendingDeletion', 'ok', 'notPendingDeletion', 'notPendingDeletion', 'notPendingDeletion', 'notPendingDeletion'),
  ReplicateKey: placement,
  UpdatePrimaryRegion: row('ok', 'disabled', 'pendingDeletion', 'pendingImport', 'unsupported', 'creating', 'ok'),
  CreateAlias: labelling,
  // only the alias's new key counts: moving an alias away from a dying key is allowed
  UpdateAlias: labelling,
  DeleteAlias: always,
  ListAliases: always,
  GetKeyPolicy: always,
  ListKeyPolicies: always,
  PutKeyPolicy: always,
  TagResource: labelling,
  UntagResource: labelling,
  UpdateKeyDescription: labelling,
  ListResourceTags: always,
  CreateGrant: row('ok', 'disabled', 'pendingDeletion', 'pendingImport', 'ok', 'creating', 'ok'),
  ListGrants: always,
  RevokeGrant: always,
  RetireGrant: always,
  GetParametersForImport: row('unsupported', 'unsupported', 'unsupported', 'ok', 'unsupported', 'creating', 'updating'),
  ImportKeyMaterial: row('unsupported', 'unsupported', 'unsupported', 'ok', 'unsupported', 'creating', 'ok'),
};

/** The error that an operation on a key in this state gets, or undefined where it may go on. */
export function stateRefusal(operation: string, state: KeyState, arn: string): KmsError | undefined {
  const cell = (STATE_TABLE[operation] ?? always)[state];
  return cell === 'ok' ? undefined : REFUSALS[cell](arn, state);
}
