/**
 * KMS misbehaves: each kind of fault at each call that a revocation and a recovery make. Each case has a key of its own, so that all
 * go on at the same time: revoked (quarantined or scheduled for deletion when two have signed), then brought back. The fault strikes more often
 * than one activity tries, so each case also lives through a round of patience.
 */
import type { Fault } from '../../local/kms/admin';
import { policyDigest } from '../../domain/digest';
import type { RevokeInput } from '../../domain/inputs';
import { checkInvariants } from '../harness/invariants';
import { createWorld, REGIONS, type World } from '../harness/world';
import { DOWN, EMERGENCY, isQuarantined, reason, RECOVERY, recovered, signWidening, UP } from './acts';

const KINDS: Fault['kind'][] = ['throttle', 'error', 'silent', 'drop-before', 'drop-after', 'deny', 'latency', 'stale-state'];
const QUARANTINE = ['DisableKey', 'EnableKey', 'PutKeyPolicy', 'DescribeKey'];
const READS = ['GetKeyPolicy', 'ListGrants', 'Decrypt', 'ListAliases'];
const DELETION = ['ScheduleKeyDeletion', 'CancelKeyDeletion'];

interface Case {
  operation: string;
  kind: Fault['kind'];
  input: Omit<RevokeInput, 'key' | 'reason'>;
}
const CASES: Case[] = [
  ...QUARANTINE.flatMap((operation) => KINDS.map((kind): Case => ({ operation, kind, input: { mode: 'quarantine' } }))),
  ...READS.flatMap((operation) => (['throttle', 'silent', 'deny'] as const).map((kind): Case => ({ operation, kind, input: { mode: 'quarantine' } }))),
  ...DELETION.flatMap((operation) => (['throttle', 'error', 'drop-after', 'deny'] as const).map((kind): Case => ({ operation, kind, input: { afterWindow: 'destroyed' } }))),
];
const purposeOf = (c: Case): string => `${c.operation}-${c.kind}`.toLowerCase();

interface Seen {
  down: Record<string, string>;
  quarantined: boolean;
  after: Record<string, string>;
  policyBack: boolean;
  outcome: string;
}

describe('when KMS misbehaves during a revocation and its recovery', () => {
  let world: World;
  const results = new Map<string, Promise<Seen>>();

  beforeAll(async () => {
    world = await createWorld({ config: { purposes: CASES.map(purposeOf) } });
    await world.initialize();
    // a few at a time: two cores
    const queue = [...CASES];
    let free = 14;
    const next = (): void => {
      const c = queue.shift();
      if (c === undefined) return;
      const run = live(world, c).finally(() => {
        free++;
        next();
      });
      run.catch(() => undefined);
      started.get(purposeOf(c))!(run);
      if (--free > 0) next();
    };
    const started = new Map<string, (r: Promise<Seen>) => void>();
    for (const c of CASES) results.set(purposeOf(c), new Promise<Seen>((resolve) => started.set(purposeOf(c), resolve as (r: Promise<Seen>) => void)));
    next();
  }, 180_000);
  afterAll(() => world.stop());

  it.each(CASES)('$operation: $kind: the key falls, is widened as signed, and comes back as it was', async (c) => {
    const seen = await results.get(purposeOf(c))!;
    expect(seen).toEqual({ down: DOWN, quarantined: c.input.mode === 'quarantine', after: UP, policyBack: true, outcome: 'recovered' });
  }, 240_000);

  it('breaks no rule', async () => {
    await Promise.allSettled(results.values());
    expect(await checkInvariants(world)).toEqual([]);
  }, 240_000);
});

async function live(world: World, c: Case): Promise<Seen> {
  const key = purposeOf(c);
  const keyId = await world.keyId(key);
  const policyBefore = policyDigest(await world.root.get(REGIONS[0])!.policy(keyId));
  const fault = async (principal: string): Promise<void> => {
    // the first Region only: the other goes on meanwhile
    await world.kms.admin.addFault({ keyId, operation: c.operation, kind: c.kind, count: 4, principal, ...(c.kind === 'stale-state' ? { ms: 1_500 } : { region: REGIONS[0] }) });
  };
  await fault(EMERGENCY);
  const { workflowId } = await world.revoke({ key, reason, ...c.input });
  const down = await world.until(`${key} is down`, async () => {
    const states = await world.states(keyId);
    return Object.values(states).every((s) => s !== 'Enabled') ? states : undefined;
  }, 60_000);
  await fault(RECOVERY);
  await signWidening(world, workflowId, { key, ...c.input });
  await settled(world, workflowId, c.input.mode === 'quarantine' ? 'quarantine' : 'delete');
  const quarantined = await isQuarantined(world, keyId);
  await fault(RECOVERY);
  const { outcome } = await recovered(world, key);
  const policyAfter = policyDigest(await world.root.get(REGIONS[0])!.policy(keyId));
  return { down, quarantined, after: await world.states(keyId), policyBack: policyAfter === policyBefore, outcome };
}

async function settled(world: World, workflowId: string, step: string): Promise<void> {
  await world.until(`${workflowId}: ${step} is over`, async () => (await world.status(workflowId)).steps.find((s) => s.name === step)?.state === 'done', 90_000);
}
