import { execFileSync } from 'node:child_process';
import { CreateAliasCommand, CreateKeyCommand, KMSClient, ScheduleKeyDeletionCommand } from '@aws-sdk/client-kms';
import { findTemporalCli } from '../../local/temporal/server';
import { KeyManagementService } from '../../client';
import { TAG, WORKFLOW_QUEUE } from '../../domain/names';
import { codeOf } from '../harness/toThrowWithCode';
import { createWorld, days, REGIONS, type World } from '../harness/world';
import { ENABLED, resultOf, writes } from './people';

let world: World;
/** Keys that stand in for what the configuration's own can't be. */
let foreign: string;
let own: string;
let destroyed: string;

beforeAll(async () => {
  world = await createWorld();
  await world.initialize('user-data');
  const kms = new KMSClient({ region: REGIONS[0], endpoint: world.kms.url, credentials: { accessKeyId: 'AKIALOCALROOT', secretAccessKey: 'local' } });
  const policy = (await world.root.get(REGIONS[0])!.policy(await world.keyId('user-data'))).replace('"Statement":[', '"Statement":[{"Sid":"All","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:root"},"Action":"kms:*","Resource":"*"},');
  const make = async (tags: Record<string, string>): Promise<string> => (await kms.send(new CreateKeyCommand({ Policy: policy, Tags: Object.entries(tags).map(([TagKey, TagValue]) => ({ TagKey, TagValue })) }))).KeyMetadata!.KeyId!;
  foreign = await make({ [TAG.application]: 'buzztutor', [TAG.environment]: 'production', [TAG.purpose]: 'user-data' });
  await kms.send(new CreateAliasCommand({ AliasName: 'alias/buzztutor/production/user-data', TargetKeyId: foreign }));
  own = (await world.operator.get(REGIONS[0])!.describe('alias/keywarden/receipts-recovery'))!.KeyId!;
  destroyed = await make({ [TAG.application]: 'buzztutor', [TAG.environment]: 'development', [TAG.purpose]: 'user-data' });
  await kms.send(new ScheduleKeyDeletionCommand({ KeyId: destroyed, PendingWindowInDays: 7 }));
  kms.destroy();
  await world.kms.admin.advanceClock(days(8));
  expect(await world.root.get(REGIONS[0])!.describe(destroyed)).toBeUndefined();
  await world.kms.admin.setClock(Date.now());
});
afterAll(() => world.stop());

let since: Date;
beforeEach(() => {
  since = new Date();
});
/** Refused before any effect: KMS saw no change, no window was opened. */
afterEach(async () => {
  expect(await writes(world, since)).toEqual([]);
  expect(await world.states(await world.keyId('user-data'))).toEqual(ENABLED);
  expect((await world.store.real.readKey(await world.keyId('user-data')))?.window).toBeUndefined();
});

type Case = [name: string, input: () => unknown, code: string, path: string];
const good = { key: 'user-data', reason: 'x' };
const cases: Case[] = [
  ['no input', () => undefined, 'KW-INPUT', 'input'],
  ['null', () => null, 'KW-INPUT', 'input'],
  ['an array', () => [good], 'KW-INPUT', 'input'],
  ['a string', () => 'user-data', 'KW-INPUT', 'input'],
  ['no key', () => ({ reason: 'x' }), 'KW-INPUT', 'input.key'],
  ['an empty reason', () => ({ ...good, reason: '' }), 'KW-INPUT', 'input.reason'],
  ['a blank reason', () => ({ ...good, reason: ' \t\n' }), 'KW-INPUT', 'input.reason'],
  ['a reason of 1 MB', () => ({ ...good, reason: 'x'.repeat(1_000_000) }), 'KW-INPUT', 'input.reason'],
  ['a reason that is an object', () => ({ ...good, reason: { $ne: '' } }), 'KW-INPUT', 'input.reason'],
  ['an unknown field', () => ({ ...good, force: true }), 'KW-INPUT', 'input.force'],
  ['a hostile key', () => ({ ...good, key: "user-data'; DROP TABLE keys; --" }), 'KW-INPUT', 'input.key'],
  ['a key with control characters', () => ({ ...good, key: 'user-data\u0000' }), 'KW-INPUT', 'input.key'],
  ['an unknown purpose', () => ({ ...good, key: 'no-such-purpose' }), 'KW-KEY-UNKNOWN', 'input.key'],
  ['an unknown key id', () => ({ ...good, key: `mrk-${'0'.repeat(32)}` }), 'KW-KEY-UNKNOWN', 'input.key'],
  ['an unknown alias', () => ({ ...good, key: 'alias/buzztutor/development/nothing' }), 'KW-KEY-UNKNOWN', 'input.key'],
  ['a key of another environment, by id', () => ({ ...good, key: foreign }), 'KW-KEY-FOREIGN', 'input.key'],
  ['a key of another environment, by alias', () => ({ ...good, key: 'alias/buzztutor/production/user-data' }), 'KW-KEY-FOREIGN', 'input.key'],
  ["Keywarden's own key, by alias", () => ({ ...good, key: 'alias/keywarden/receipts-recovery' }), 'KW-KEY-OWN', 'input.key'],
  ["Keywarden's own key, by id", () => ({ ...good, key: own }), 'KW-KEY-OWN', 'input.key'],
  ['a key that was destroyed', () => ({ ...good, key: destroyed }), 'KW-KEY-UNKNOWN', 'input.key'],
];
const revokeOnly: Case[] = [
  ['a mode that is none', () => ({ ...good, mode: 'obliterate' }), 'KW-INPUT', 'input.mode'],
  ['an end that is none', () => ({ ...good, afterWindow: 'soon' }), 'KW-INPUT', 'input.afterWindow'],
  ['quarantine and destruction at once', () => ({ ...good, mode: 'quarantine', afterWindow: 'destroyed' }), 'KW-INPUT', 'input.afterWindow'],
  ['a string for a flag', () => ({ ...good, acknowledgeOutage: 'true' }), 'KW-INPUT', 'input.acknowledgeOutage'],
];
const recoverOnly: Case[] = [
  ['grants that are no ids', () => ({ ...good, acceptGrants: ['all'] }), 'KW-INPUT', 'input.acceptGrants.0'],
  ['a key without a window', () => good, 'KW-WINDOW-CLOSED', ''],
];

/** Code and path as whoever reads the failure gets them. */
async function failure(type: string, args: unknown[]): Promise<[string, string, string]> {
  const workflowId = world.id(type);
  await world.client.workflow.start(type, { taskQueue: WORKFLOW_QUEUE, workflowId, args });
  const error = await resultOf(world, workflowId).then(() => undefined, (e: Error) => e);
  const cause = (error as { cause?: { details?: { path?: string; next?: string }[] } } | undefined)?.cause;
  return [await codeOf(Promise.reject(error)), cause?.details?.[0]?.path ?? '', cause?.details?.[0]?.next ?? ''];
}

describe.each([['revokeKey', [...cases, ...revokeOnly]], ['recoverKey', [...cases, ...recoverOnly]]] as const)('%s as the Temporal UI starts it: the failure has code, path and what to do, and KMS saw nothing', (type, list) => {
  it.each(list as Case[])('%s', async (_name, input, code, path) => {
    const raw = input();
    const [found, where, next] = await failure(type, raw === undefined ? [] : [raw]);
    expect([found, where]).toEqual([code, path]);
    expect(next).not.toBe('');
  });
});

describe('initializeKeys', () => {
  it.each<[string, unknown, string]>([['an unknown purpose', { purposes: ['no-such-purpose'] }, 'KW-INPUT'], ['no purposes', { purposes: [] }, 'KW-INPUT'], ['an unknown field', { force: true }, 'KW-INPUT'], ['null', null, 'KW-INPUT'], ['a string', 'all', 'KW-INPUT']])('%s', async (_name, raw, code) => {
    expect((await failure('initializeKeys', [raw])).slice(0, 2)).toEqual([code, expect.stringContaining('input')]);
  });
});

describe('`temporal workflow start` with one JSON object', () => {
  it('answers with the same code', async () => {
    const cli = process.env['KEYWARDEN_TEMPORAL_CLI'] ?? (await findTemporalCli(() => undefined)).path;
    const workflowId = world.id('revokeKey');
    execFileSync(cli, ['workflow', 'start', '--address', process.env['TEMPORAL_ADDRESS']!, '--type', 'revokeKey', '--task-queue', WORKFLOW_QUEUE, '--workflow-id', workflowId, '--input', '{"key":"user-data"}']);
    expect(await codeOf(resultOf(world, workflowId))).toBe('KW-INPUT');
  });
});

describe('the library refuses before anything is started', () => {
  it.each<[string, unknown, string]>([['no input', undefined, 'input.key'], ['null', null, 'input.key'], ['an array', [], 'input.key'], ['an unknown field', { ...good, force: true }, 'input.force'], ['an empty reason', { ...good, reason: '' }, 'input.reason'], ['a reason of 1 MB', { ...good, reason: 'x'.repeat(1_000_000) }, 'input.reason'], ['a wrong type', { ...good, key: 7 }, 'input.key']])('%s', async (_name, raw, path) => {
    const service = new KeyManagementService({ temporal: world.client });
    for (const act of [() => service.emergencyRevokeKey(raw as never), () => service.recoverKey(raw as never)]) {
      const error = await act().then(() => undefined, (e: unknown) => e as { code: string; path: string });
      expect([error?.code, error?.path]).toEqual(['KW-INPUT', path]);
    }
  });
});
