/**
 * The store fails at each of its methods: at once, by hanging, or after its effect with the answer lost; in a revocation and in its recovery.
 * Disabling never waits for it; all the rest happens when it is back, once.
 */
import { readdirSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import type { AuditEntry, AuditRow } from '../../domain/audit';
import { demoFiles } from '../../local/demo/files';
import type { Store } from '../../stores/store';
import { checkInvariants } from '../harness/invariants';
import { createWorld, type World } from '../harness/world';
import type { Fault, StoreMethod } from '../stores/faultyStore';
import { DOWN, reason, recovered, recovery, revoked, rowsOf, UP } from './acts';
import { faultsByKey, type FaultsByKey } from './faultsByKey';

const METHODS: StoreMethod[] = ['changeKey', 'withKeyLease', 'appendAudit', 'consumeProof', 'saveReceipt', 'savePlan', 'readKey', 'receiptsFor', 'readPlan'];
const FAULTS: Fault[] = ['down', 'hang', 'failAfterEffect'];
const CASES = METHODS.flatMap((method) => FAULTS.map((fault) => ({ method, fault })));
const purposeOf = ({ method, fault }: (typeof CASES)[number]): string => `${method}-${fault}`.toLowerCase();
const OUTAGE_MS = 2_500;

interface Seen {
  /** States while the store still failed. */
  during: Record<string, string>;
  after: Record<string, string>;
  outcome: string;
}

describe('when the store fails at one of its methods', () => {
  let world: World;
  let faults: FaultsByKey;
  const results = new Map<string, Promise<Seen>>();

  beforeAll(async () => {
    world = await createWorld({ noWorker: true, config: { purposes: CASES.map(purposeOf) } });
    faults = faultsByKey(world.store);
    await world.startWorker({ store: faults.store });
    await world.initialize();
    const lanes: Promise<unknown>[] = Array.from({ length: 9 }, () => Promise.resolve());
    CASES.forEach((c, i) => {
      const lane = i % lanes.length;
      const run = lanes[lane]!.then(() => live(c));
      lanes[lane] = run.catch(() => undefined);
      run.catch(() => undefined);
      results.set(purposeOf(c), run);
    });
  }, 120_000);
  afterAll(() => world.stop());

  async function live(c: (typeof CASES)[number]): Promise<Seen> {
    const key = purposeOf(c);
    const keyId = await world.keyId(key);
    const faulty = faults.of(keyId);
    const workflowId = world.id('revokeKey');
    faults.belongs(workflowId, keyId);
    faulty.fail(c.method, c.fault);
    await world.revoke({ key, reason }, { workflowId });
    const during = await world.until(`${key} is down`, async () => {
      const states = await world.states(keyId);
      return Object.values(states).every((s) => s === 'Disabled') ? states : undefined;
    }, 10_000);
    await pause(OUTAGE_MS);
    faulty.heal();
    await world.stepsDone(workflowId, 'disable', 'alert', 'open-window', 'prove-effect', 'census');
    const handle = await world.recover({ key, reason }, 'bob');
    faults.belongs(handle.workflowId, keyId);
    faulty.fail(c.method, c.fault);
    const proof = await world.token(handle.workflowId, 'recoverKey', { key, reason }, 'carol', 'KeyRecoveryAdmin');
    await handle.signal('approve', { proof });
    await pause(OUTAGE_MS);
    faulty.heal();
    const { outcome } = (await handle.result()) as { outcome: string };
    return { during, after: await world.states(keyId), outcome };
  }

  it.each(CASES)('$method, $fault: the key falls meanwhile, and is recovered when the store is back', async (c) => {
    expect(await results.get(purposeOf(c))!).toEqual({ during: DOWN, after: UP, outcome: 'recovered' });
  }, 180_000);

  it('breaks no rule', async () => {
    await Promise.allSettled(results.values());
    expect(await checkInvariants(world)).toEqual([]);
  }, 180_000);
});

describe('when the whole store is gone', () => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld({ config: { purposes: ['gone', 'hung', 'calm'] } });
    await world.initialize();
  });
  afterAll(() => world.stop());

  it.each([['gone', 'down'], ['hung', 'hang']] as const)('%s: the key falls, security hears, the rows wait in the journal and are merged in order', async (key, fault) => {
    const keyId = await world.keyId(key);
    world.store.fail('all', fault);
    const { workflowId } = await world.revoke({ key, reason });
    await world.until('the key is down', async () => Object.values(await world.states(keyId)).every((s) => s === 'Disabled'), 10_000);
    await world.until('security heard', async () => (await world.received()).some((m) => m.kind === 'key-revoked' && m.text.includes(keyId)));
    await world.until('rows wait in the journal', async () => readdirSync(demoFiles(world.dataDir).journal).some((f) => f.endsWith('.journal')));
    await world.until('status says what is missing', async () => (await world.status(workflowId)).missing?.some((m) => m.startsWith('Record the revocation')), 100_000);
    world.store.heal();
    await world.stepsDone(workflowId, 'disable', 'alert', 'open-window', 'prove-effect', 'census');
    const rows: AuditEntry[] = [];
    await world.until('the journal is merged', async () => {
      rows.length = 0;
      for await (const row of world.store.real.readAudit({ workflowId })) rows.push(row.entry);
      // a call that hung is done late, as itself: its rows stand already when the journal's come
      return rows.filter((r) => r.action === 'DisableKey' && r.phase === 'done').length === 2 && rows.some((r) => r.journaled === true && (fault === 'hang' || r.action === 'DisableKey'));
    });
    const merged = rows.filter((r) => r.journaled === true).map((r) => r.at);
    expect(merged).toEqual([...merged].sort());
    expect(rows.filter((r) => r.action === 'DisableKey' && r.phase === 'done')).toHaveLength(2);
    expect(await recovered(world, key)).toMatchObject({ outcome: 'recovered' });
    expect(await checkInvariants(world)).toEqual([]);
  }, 180_000);
});

describe('when neither the store nor a journal takes audit rows', () => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld({ config: { purposes: ['bare', 'late'], audit: undefined } as never });
    await world.initialize();
  });
  afterAll(() => world.stop());

  it('a revocation still disables, says that its rows are missing, and writes them when the store is back', async () => {
    const keyId = await world.keyId('bare');
    world.store.fail('appendAudit', 'down');
    const { workflowId } = await world.revoke({ key: 'bare', reason });
    await world.until('the key is down', async () => Object.values(await world.states(keyId)).every((s) => s === 'Disabled'), 10_000);
    const s = await world.until('the missing row shows', async () => {
      const now = await world.status(workflowId);
      return now.missing?.some((m) => m.includes('KW-AUDIT')) === true ? now : undefined;
    });
    expect(s.steps.find((x) => x.name === 'disable')!.state).toBe('done');
    world.store.heal();
    await world.stepsDone(workflowId, 'disable', 'alert', 'open-window', 'prove-effect', 'census');
    expect((await rowsOf(world, workflowId)).filter((r) => r === 'DisableKey done')).toHaveLength(2);
  }, 120_000);

  it('a recovery enables nothing until its intended row is stored', async () => {
    const keyId = await world.keyId('bare');
    world.store.fail('appendAudit', 'down');
    const handle = await recovery(world, 'bare');
    await pause(4_000);
    expect(await world.states(keyId)).toEqual(DOWN);
    expect((await world.kms.admin.calls({ operation: 'EnableKey' })).filter((c) => c.keyArn?.endsWith(keyId))).toEqual([]);
    world.store.heal();
    expect(await handle.result()).toMatchObject({ outcome: 'recovered' });
    expect(await checkInvariants(world)).toEqual([]);
  }, 120_000);

  it('an enabling whose done row is not taken is not called failed, and its end is on record', async () => {
    const keyId = await world.keyId('late');
    await revoked(world, { key: 'late' });
    await world.stopWorker();
    // once for each Region: after KMS has enabled the key, the row that says so is not taken
    let lost = 0;
    const real: Store = world.store;
    const store = new Proxy(real, {
      get: (target, method: keyof Store) =>
        method === 'appendAudit'
          ? async (entries: AuditEntry[]): Promise<AuditRow[]> => {
              if (entries.some((e) => e.action === 'EnableKey' && e.phase === 'done') && lost++ < 2) throw new Error('the disk is full (a fault made by a test)');
              return target.appendAudit(entries);
            }
          : typeof target[method] === 'function' ? (target[method] as (...a: unknown[]) => unknown).bind(target) : target[method],
    });
    await world.startWorker({ store });
    expect(await recovered(world, 'late')).toMatchObject({ outcome: 'recovered' });
    const rows: string[] = [];
    for await (const { entry } of world.store.real.readAudit({ keyId })) if (entry.action === 'EnableKey') rows.push(entry.phase);
    expect(lost).toBeGreaterThanOrEqual(2);
    expect(rows).not.toContain('failed');
    expect(rows.filter((p) => p === 'intended')).toHaveLength(2);
    expect(rows.filter((p) => p === 'done' || p === 'unknown')).toHaveLength(2);
    expect(await checkInvariants(world)).toEqual([]);
  }, 120_000);
});
