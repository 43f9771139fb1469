/**
 * Random sequences of what people and applications do to one key, with faults of KMS, store and worker between them. Whatever the order: every
 * subject key still opens to what it was, nothing stands where a rotation's result says that nothing does, and the ten rules hold.
 *
 * `KEYWARDEN_SEED` and `KEYWARDEN_RUNS` choose other sequences; a failure prints its own.
 */
import * as fc from 'fast-check';
import type { WorkflowHandle } from '@temporalio/client';
import { openWindowOf } from '../../domain/keyRow';
import type { RotateInput } from '../../domain/inputs';
import { aliasOf, WORKFLOW_QUEUE } from '../../domain/names';
import type { RotateResult } from '../../workflows/rotateKey';
import { reason, recovered, UP } from '../faults/acts';
import { checkInvariants } from '../harness/invariants';
import { createWorld, REGIONS, type World } from '../harness/world';
import { addColumnKey, addSubjects, materialsNow, openColumnKey, openSubject } from '../procedures/wrapped';

const RUNS = Number(process.env['KEYWARDEN_RUNS'] ?? 5);
const SEED = Number(process.env['KEYWARDEN_SEED'] ?? 20_261_124);
const FIRST = 25;

type Op =
  | { op: 'rotate' } | { op: 'replace'; decision: 'approve' | 'reject' } | { op: 'revoke' } | { op: 'recover' } | { op: 'add'; n: number } | { op: 'worker' }
  | { op: 'kms'; kind: 'throttle' | 'silent' | 'drop-after' | 'error'; operation: string; count: number }
  | { op: 'store'; method: 'writePage' | 'changeKey' | 'appendAudit' | 'settlePrevious'; how: 'down' | 'failAfterEffect' }
  | { op: 'pause'; ms: number };

const op: fc.Arbitrary<Op> = fc.oneof(
  { weight: 3, arbitrary: fc.constant<Op>({ op: 'rotate' }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant('replace' as const), decision: fc.constantFrom('approve' as const, 'approve' as const, 'reject' as const) }) },
  { weight: 1, arbitrary: fc.constant<Op>({ op: 'revoke' }) },
  { weight: 1, arbitrary: fc.constant<Op>({ op: 'recover' }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('add' as const), n: fc.integer({ min: 1, max: 8 }) }) },
  { weight: 1, arbitrary: fc.constant<Op>({ op: 'worker' }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('kms' as const), kind: fc.constantFrom('throttle' as const, 'silent' as const, 'drop-after' as const, 'error' as const), operation: fc.constantFrom('ReEncrypt', 'CreateKey', 'ReplicateKey', 'UpdateAlias', 'PutKeyPolicy', 'RotateKeyOnDemand', 'DisableKey', 'EnableKey', 'DescribeKey'), count: fc.integer({ min: 1, max: 5 }) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('store' as const), method: fc.constantFrom('writePage' as const, 'changeKey' as const, 'appendAudit' as const, 'settlePrevious' as const), how: fc.constantFrom('down' as const, 'failAfterEffect' as const) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('pause' as const), ms: fc.integer({ min: 50, max: 1_500 }) }) },
);

describe('whatever happens to a key in whatever order', () => {
  let world: World;
  const purposes = Array.from({ length: RUNS }, (_, i) => `run-${i + 1}`);
  const spare = [...purposes];

  beforeAll(async () => {
    world = await createWorld({ config: { purposes, backups: { retentionDays: 0 }, recovery: { windowDays: 7, reminderHours: [], holdSeconds: 0.2 }, rewrap: { requestsPerSecond: 20_000, reservePercent: 50, concurrency: 8, pageKeys: 7, stretchKeys: 20, stretches: 2 } } });
    await world.initialize();
  }, 120_000);
  afterAll(() => world?.stop());

  it('nothing is lost, and what a rotation says of its end is so', async () => {
    await fc.assert(fc.asyncProperty(fc.array(op, { minLength: 3, maxLength: 7 }), async (ops) => {
      await new Sequence(world, spare.shift()!).run(ops);
    }), { numRuns: RUNS, seed: SEED, endOnFailure: true });
    expect(await checkInvariants(world)).toEqual([]);
  }, 600_000);
});

class Sequence {
  private count = 0;
  private readonly rotations: Promise<{ result?: RotateResult; error?: unknown }>[] = [];
  private readonly begun: Promise<unknown>[] = [];
  private adding: Promise<void> = Promise.resolve();
  private readonly known = new Map<number, string>();

  constructor(private readonly world: World, private readonly key: string) {}

  async run(ops: readonly Op[]): Promise<void> {
    const { world, key } = this;
    await this.add(FIRST);
    await addColumnKey(world, key, `CEK_${key}`);
    const cek = await openColumnKey(world, key, `CEK_${key}`);
    for (const o of ops) await this.do(o);
    const ends = await this.settled();
    // nothing is lost
    for (const [i, plain] of this.known) expect([i, await openSubject(world, key, i)]).toEqual([i, plain]);
    expect(await openColumnKey(world, key, `CEK_${key}`)).toBe(cek);
    const now = await world.keyId(key);
    for (const r of REGIONS) expect((await world.root.get(r)!.describe(aliasOf(world.config, key)))!.KeyId).toBe(now);
    expect(await world.states(now)).toEqual(UP);
    for (const { result } of ends) {
      if (result?.outcome === 'replaced') expect(await this.standing(result.keyId)).toBe(0);
      if (result?.outcome === 'rolled-back' && result.replacement !== undefined) expect(await this.standing(result.replacement)).toBe(0);
    }
    // the application may have wrapped under what was current a moment before: one more rotation leaves nothing
    const last = await this.rotate({ key });
    expect(last).toMatchObject({ outcome: 'rotated', counts: { setAside: 0 } });
    expect(await world.store.real.countStale(now, (await materialsNow(world, key)).current)).toEqual({ stale: 0, setAside: 0 });
    expect(Object.values(await world.store.real.countWrapped(now))).toEqual([1, this.count]);
  }

  private async do(o: Op): Promise<void> {
    const { world, key } = this;
    if (o.op === 'rotate') this.begin({ key });
    else if (o.op === 'replace') this.begin({ key, strategy: 'replace' }, o.decision);
    else if (o.op === 'revoke') this.begun.push(world.revoke({ key, reason }).then((h) => this.rest(h)).catch(() => undefined));
    else if (o.op === 'recover') this.begun.push(recovered(world, key).catch(() => undefined));
    else if (o.op === 'add') this.adding = this.adding.then(() => this.add(o.n)).catch(() => undefined);
    else if (o.op === 'worker') {
      await world.stopWorker();
      await world.startWorker();
    } else if (o.op === 'kms') await world.kms.admin.addFault({ kind: o.kind, operation: o.operation, count: o.count });
    else if (o.op === 'store') world.store.failOnce(o.method, o.how);
    else await new Promise((r) => setTimeout(r, o.ms));
  }

  private begin(input: RotateInput, decision?: 'approve' | 'reject'): void {
    this.rotations.push(this.rotate(input, decision).then((result) => ({ result }), (error: unknown) => ({ error })));
  }

  /** Signed with its start; a replacement's cutover is decided as soon as it is asked for. */
  private async rotate(input: RotateInput, decision?: 'approve' | 'reject'): Promise<RotateResult> {
    const { world } = this;
    const workflowId = world.id('rotateKey');
    const proof = await world.sign('dave', 'KeyManagementAdmin', await world.plan('rotateKey', input, { workflowId }));
    const handle = await world.client.workflow.start('rotateKey', { taskQueue: WORKFLOW_QUEUE, workflowId, args: [{ ...input, proof }] });
    if (decision !== undefined) await this.decide(handle, input, decision);
    return handle.result() as Promise<RotateResult>;
  }

  private async decide(handle: WorkflowHandle, input: RotateInput, decision: 'approve' | 'reject'): Promise<void> {
    const { world } = this;
    await world.until('it is asked for, or has ended', async () => (await handle.describe()).status.name !== 'RUNNING' || (await world.status(handle.workflowId)).phase === 'waiting for the sign-off', 240_000);
    if ((await handle.describe()).status.name !== 'RUNNING') return;
    await handle.signal(decision, { proof: await world.token(handle.workflowId, 'rotateKey', input, 'carol', 'KeyManagementAdmin', { decision }) }).catch(() => undefined);
  }

  /** Faults are over, everything has come to its end, and the key is in use. */
  private async settled(): Promise<{ result?: RotateResult; error?: unknown }[]> {
    const { world, key } = this;
    await world.kms.admin.clearFaults();
    world.store.heal();
    await this.adding;
    await Promise.all(this.begun);
    const keyId = await world.keyId(key);
    if (openWindowOf(await world.store.real.readKey(keyId)) !== undefined) await recovered(world, key);
    return Promise.all(this.rotations);
  }

  private async rest({ workflowId }: Pick<WorkflowHandle, 'workflowId'>): Promise<void> {
    const done = ['done', 'skipped', 'failed'];
    await this.world.until('the revocation is at rest', async () => {
      const { steps } = await this.world.status(workflowId);
      return ['open-window', 'prove-effect'].every((n) => done.includes(steps.find((s) => s.name === n)!.state));
    }, 120_000);
  }

  private async standing(keyId: string): Promise<number> {
    const { subjectKeys, columnKeyValues } = await this.world.store.real.countWrapped(keyId);
    return subjectKeys + columnKeyValues;
  }

  private async add(n: number): Promise<void> {
    for (let i = 0; i < n; i++) {
      const id = this.count;
      await addSubjects(this.world, this.key, id, id + 1); // fails while the key is down, or KMS fails
      this.count++;
      this.known.set(id, await openSubject(this.world, this.key, id));
    }
  }
}
