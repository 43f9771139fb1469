import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { CreateAliasCommand, CreateKeyCommand, DescribeKeyCommand, KMSClient, ReplicateKeyCommand } from '@aws-sdk/client-kms';
import type { Config } from '../../domain/config';
import { CHECKPOINT_KEY, DUTIES, OWN_PURPOSE, receiptsKey, TAG, type Duty } from '../../domain/names';
import { receiptsPolicy, type PolicyRoles } from '../../domain/policies';
import type { LocalCredentials } from '../../worker/credentials';
import { LocalKmsAdmin } from '../kms/admin';
import type { DevStackFacts } from '../supervise';
import { demoFiles } from './files';
import { makeIdentity } from './identities';

export const DEMO_PEOPLE = [
  { name: 'alice', roles: ['EmergencyKeyAdmin', 'KeyRecoveryAdmin'] },
  { name: 'bob', roles: ['KeyRecoveryAdmin'] },
  { name: 'carol', roles: ['KeyRecoveryAdmin', 'KeyManagementAdmin'] },
  { name: 'dave', roles: ['KeyManagementAdmin'] },
] as const;

const APPLICATION = 'buzztutor';

export function roleArns(account: string): PolicyRoles & { routine: string; emergency: string; recovery: string } {
  const role = (name: string) => `arn:aws:iam::${account}:role/${name}`;
  return { account, routine: role('keywarden-routine'), emergency: role('keywarden-emergency'), recovery: role('keywarden-recovery'), application: [role(`${APPLICATION}-application`)], operators: [role('keywarden-operator')], emergencyAdmins: [role('EmergencyKeyAdmin')] };
}

/** Makes what a development stack needs and Terraform makes in production: principals, own keys, people, configuration. Started again, it finds what is there. */
export async function prepareDemo(dataDir: string, stack: Pick<DevStackFacts, 'kms' | 'account' | 'regions' | 'topicArns'>, changes: Partial<Config> = {}): Promise<void> {
  const files = demoFiles(dataDir);
  const config = existsSync(files.config) ? (JSON.parse(readFileSync(files.config, 'utf8')) as Config) : await firstConfig(dataDir, stack, changes);
  const credentials = await principals(stack, config.people.map((p) => p.name));
  writeAtomically(files.credentials, credentials);
  await ownKeys(stack, credentials['root']!);
  // ports may have changed since yesterday; all else of the configuration is its owner's
  writeAtomically(files.config, config);
}

async function firstConfig(dataDir: string, stack: Pick<DevStackFacts, 'account' | 'regions' | 'topicArns'>, changes: Partial<Config>): Promise<Config> {
  const files = demoFiles(dataDir);
  const people = [];
  for (const person of DEMO_PEOPLE) {
    const { publicKey } = await makeIdentity(files.identities, person.name);
    people.push({ name: person.name, roles: [...person.roles], identities: [{ verifier: 'local', publicKey }] });
  }
  const { account: _account, ...roles } = roleArns(stack.account);
  return {
    application: APPLICATION,
    environment: 'development',
    account: stack.account,
    regions: stack.regions,
    people,
    roles,
    alerts: { topicArn: Object.values(stack.topicArns)[0] },
    audit: { journal: files.journal },
    databases: [{ name: APPLICATION, purpose: 'tde' }],
    ...changes,
  } as unknown as Config;
}

/** Access keys by who uses them; to the local KMS each is a principal with its own rights. */
async function principals(stack: Pick<DevStackFacts, 'kms' | 'account'>, people: readonly string[]): Promise<LocalCredentials> {
  const admin = new LocalKmsAdmin(stack.kms);
  const arns = roleArns(stack.account);
  const list = { Effect: 'Allow', Action: ['kms:ListAliases', 'kms:ListKeys'], Resource: '*' };
  const make = { Effect: 'Allow', Action: ['kms:CreateKey', 'kms:TagResource', 'kms:CreateAlias', 'kms:UpdateAlias', 'kms:DeleteAlias', 'kms:ReplicateKey'], Resource: '*' };
  const policy = (...Statement: object[]) => ({ Version: '2012-10-17', Statement });
  const all: [string, string, object?][] = [
    ['root', `arn:aws:iam::${stack.account}:root`],
    ['routine', arns.routine, policy(list)],
    ['emergency', arns.emergency, policy(list)],
    ['recovery', arns.recovery, policy(list, make)],
    ['operator', arns.operators![0]!, policy(list)],
    ['application', arns.application![0]!],
    ...people.map((name): [string, string, object] => [`person:${name}`, `arn:aws:sts::${stack.account}:assumed-role/EmergencyKeyAdmin/${name}`, policy(list)]),
  ];
  const credentials: LocalCredentials = {};
  for (const [who, arn, identityPolicy] of all) {
    const accessKeyId = `AKIALOCAL${who.replace(/[^a-z0-9]/gi, '').toUpperCase()}`;
    credentials[who] = { accessKeyId, secretAccessKey: 'local' };
    await admin.addPrincipal(accessKeyId, { arn, ...(identityPolicy === undefined ? {} : { identityPolicy }) });
  }
  return credentials;
}

/** Keywarden's own keys: a MAC key for each duty's receipts, one for checkpoints; in every Region. */
async function ownKeys(stack: Pick<DevStackFacts, 'kms' | 'account' | 'regions'>, credentials: { accessKeyId: string; secretAccessKey: string }): Promise<void> {
  const [primary, ...others] = stack.regions as [string, ...string[]];
  const arns = roleArns(stack.account);
  const client = (region: string) => new KMSClient({ region, endpoint: stack.kms, credentials });
  const exists = (kms: KMSClient, id: string) => kms.send(new DescribeKeyCommand({ KeyId: id })).then((d) => d.KeyMetadata, () => undefined);
  const first = client(primary);
  const keys: [string, string | undefined][] = [...DUTIES.map((d: Duty): [string, string | undefined] => [receiptsKey(d), arns[d]]), [CHECKPOINT_KEY, arns.routine]];
  for (const [alias, role] of keys) {
    const Policy = receiptsPolicy(arns, role);
    const Tags = [{ TagKey: TAG.purpose, TagValue: OWN_PURPOSE }];
    let key = await exists(first, alias);
    if (key === undefined) {
      key = (await first.send(new CreateKeyCommand({ KeySpec: 'HMAC_256', KeyUsage: 'GENERATE_VERIFY_MAC', MultiRegion: true, Policy, Tags, Description: alias }))).KeyMetadata!;
      await first.send(new CreateAliasCommand({ AliasName: alias, TargetKeyId: key.KeyId }));
    }
    for (const region of others) {
      const there = client(region);
      if ((await exists(there, key.KeyId!)) === undefined) await first.send(new ReplicateKeyCommand({ KeyId: key.KeyId, ReplicaRegion: region, Policy, Tags }));
      if ((await exists(there, alias)) === undefined) await there.send(new CreateAliasCommand({ AliasName: alias, TargetKeyId: key.KeyId }));
      there.destroy();
    }
  }
  first.destroy();
}

function writeAtomically(path: string, value: object): void {
  writeFileSync(`${path}.new`, `${JSON.stringify(value, null, 2)}\n`, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}
