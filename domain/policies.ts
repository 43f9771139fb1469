import { CANARY_CONTEXT } from './names';

/**
 * Key policies as shipped. No statement delegates to IAM (a root principal without a condition would): what is not named here is denied.
 * Actions by duty: DESIGN.md, "People sign; workers act".
 */
export interface PolicyRoles {
  account: string;
  /** ARNs; a duty without one has no rights. */
  routine?: string | undefined;
  emergency?: string | undefined;
  recovery?: string | undefined;
  application?: readonly string[] | undefined;
  operators?: readonly string[] | undefined;
  emergencyAdmins?: readonly string[] | undefined;
}

interface Statement {
  Sid: string;
  Effect: 'Allow' | 'Deny';
  Principal: '*' | { AWS: string | string[] };
  Action: string[];
  Resource: '*';
  Condition?: Record<string, Record<string, string | string[]>>;
}

const READ = ['kms:DescribeKey', 'kms:GetKeyPolicy', 'kms:ListGrants', 'kms:ListResourceTags', 'kms:GetKeyRotationStatus', 'kms:ListKeyRotations', 'kms:ListKeyPolicies'];
const CRYPTOGRAPHIC = ['kms:Encrypt', 'kms:Decrypt', 'kms:ReEncryptFrom', 'kms:ReEncryptTo', 'kms:GenerateDataKey*', 'kms:Sign', 'kms:Verify', 'kms:GenerateMac', 'kms:VerifyMac', 'kms:DeriveSharedSecret'];
const canaryOnly = { StringEquals: { 'kms:EncryptionContext:purpose': CANARY_CONTEXT.purpose } };

function allow(Sid: string, arns: string | readonly string[] | undefined, Action: string[], Condition?: Statement['Condition']): Statement[] {
  const list = arns === undefined ? [] : typeof arns === 'string' ? [arns] : [...arns];
  if (list.length === 0) return [];
  return [{ Sid, Effect: 'Allow', Principal: { AWS: list.length === 1 ? list[0]! : list }, Action, Resource: '*', ...(Condition === undefined ? {} : { Condition }) }];
}

function management(r: PolicyRoles): Statement[] {
  return [
    ...allow('ReadByDuties', [r.routine, r.emergency, r.recovery].filter((a): a is string => a !== undefined), READ),
    ...allow('ReadByOperators', r.operators, READ),
    ...allow('DisableByEmergency', r.emergency, ['kms:DisableKey']),
    ...allow('DisableByEmergencyAdmin', r.emergencyAdmins, ['kms:DisableKey', 'kms:DescribeKey', 'kms:ListResourceTags']),
    ...allow('ManageByRecovery', r.recovery, [
      'kms:EnableKey', 'kms:DisableKey', 'kms:PutKeyPolicy', 'kms:CancelKeyDeletion', 'kms:ScheduleKeyDeletion', 'kms:CreateGrant', 'kms:RevokeGrant',
      'kms:CreateAlias', 'kms:UpdateAlias', 'kms:DeleteAlias', 'kms:TagResource', 'kms:ReplicateKey', 'kms:UpdatePrimaryRegion', 'kms:EnableKeyRotation',
    ]),
    // the account's last resort when every worker role is lost; tied to root itself, so it delegates nothing to IAM
    ...allow('LastResort', `arn:aws:iam::${r.account}:root`, ['kms:DescribeKey', 'kms:GetKeyPolicy', 'kms:PutKeyPolicy'], {
      StringEquals: { 'aws:PrincipalArn': `arn:aws:iam::${r.account}:root` },
    }),
  ];
}

/** The policy of a purpose's CMK in normal times. JSON text. */
export function shippedPolicy(r: PolicyRoles): string {
  return document([
    ...management(r),
    ...allow('RewrapAndRotateByRoutine', r.routine, ['kms:ReEncryptFrom', 'kms:ReEncryptTo', 'kms:GenerateDataKeyWithoutPlaintext', 'kms:RotateKeyOnDemand']),
    ...allow('CanaryByDuties', [r.routine, r.emergency, r.recovery].filter((a): a is string => a !== undefined), ['kms:Encrypt', 'kms:Decrypt'], canaryOnly),
    ...allow('UseByApplication', r.application, ['kms:Encrypt', 'kms:Decrypt', 'kms:GenerateDataKey', 'kms:GenerateDataKeyWithoutPlaintext', 'kms:DescribeKey']),
  ]);
}

/**
 * Quarantine: an explicit Deny of every cryptographic operation and of CreateGrant to everyone but the re-wrap role, which may only
 * `ReEncryptFrom`. A Deny and not a missing Allow, since grants would else live on (DESIGN.md, Choices).
 */
export function quarantinePolicy(r: PolicyRoles): string {
  const notFrom = CRYPTOGRAPHIC.filter((a) => a !== 'kms:ReEncryptFrom');
  return document([
    ...management(r),
    ...allow('ReadForRewrap', r.routine, ['kms:ReEncryptFrom']),
    { Sid: 'QuarantineAllButRewrap', Effect: 'Deny', Principal: '*', Action: ['kms:ReEncryptFrom'], Resource: '*', Condition: { ArnNotEquals: { 'aws:PrincipalArn': r.routine ?? 'arn:aws:iam::000000000000:role/nobody' } } },
    { Sid: 'QuarantineForAll', Effect: 'Deny', Principal: '*', Action: [...notFrom, 'kms:CreateGrant'], Resource: '*' },
  ]);
}

/** A CMK that another one has replaced: what stands in backups can still be read, nothing new comes under it. */
export function decryptOnlyPolicy(r: PolicyRoles): string {
  return document([
    ...management(r),
    ...allow('ReadForRewrap', r.routine, ['kms:ReEncryptFrom']),
    ...allow('CanaryByDuties', [r.routine, r.emergency, r.recovery].filter((a): a is string => a !== undefined), ['kms:Decrypt'], canaryOnly),
    ...allow('ReadByApplication', r.application, ['kms:Decrypt', 'kms:DescribeKey']),
  ]);
}

/** The policy of the MAC key with which one duty makes and checks its receipts. */
export function receiptsPolicy(r: PolicyRoles, dutyRole: string | undefined): string {
  return document([
    ...allow('ReadByDuties', [r.routine, r.emergency, r.recovery].filter((a): a is string => a !== undefined), READ),
    ...allow('ReadByOperators', r.operators, READ),
    ...allow('MacByItsDuty', dutyRole, ['kms:GenerateMac', 'kms:VerifyMac']),
    ...allow('LastResort', `arn:aws:iam::${r.account}:root`, ['kms:*'], { StringEquals: { 'aws:PrincipalArn': `arn:aws:iam::${r.account}:root` } }),
  ]);
}

function document(Statement: Statement[]): string {
  return JSON.stringify({ Version: '2012-10-17', Id: 'keywarden', Statement });
}
