/**
 * The worker is killed (SIGKILL) after each activity of a rotation in place, of a replacement, and of one that is rolled back, and right before each
 * that changes a key or what is wrapped: after the effect, its result not reported. Another worker goes on, and the rotation ends right.
 *
 * As in workerKilled.test.ts, the activities are those of a clean run's history, and each point has a key of its own.
 */
import { WORKFLOW_QUEUE } from '../../domain/names';
import type { RotateInput } from '../../domain/inputs';
import type { RotateResult } from '../../workflows/rotateKey';
import { checkInvariants } from '../harness/invariants';
import { createWorld, REGIONS, type World } from '../harness/world';
import { addColumnKey, addSubjects, materialsNow, openColumnKey, openSubject } from '../procedures/wrapped';
import { DOWN, names, UP } from './acts';
import type { Point } from './fixture/worker-entry';
import { id, Killable, labelsOf } from './killable';

const MODES = ['in-place', 'replace', 'back'] as const;
type Mode = (typeof MODES)[number];
const CHANGES = /^(beginRotation|makeMaterial|rewrapColumnKeys|rewrapStretch|beginReplacement|makeReplacement|cutover|deactivate|settleReplacement|withdrawReplacement)\b/;
/** How often these look depends on the moment. */
const VARIES = /^(openedBy|alert|considerCutover#[2-9]|verify\w+#[2-9]|planStretches#[2-9]|rewrapStretch#[2-9]|rewrapColumnKeys#[3-9])/;
const KEYS = 12;
const SPARE = 60;

interface Run {
  key: string;
  mode: Mode;
  workflowId: string;
  point?: Point;
}

describe('when the worker is killed during a rotation', () => {
  let world: World;
  let worker: Killable;
  const clean = MODES.map((mode) => run(`clean-${mode}`, mode));
  const spare = names('k', SPARE);
  let labels: Record<Mode, string[]>;

  beforeAll(async () => {
    world = await createWorld({ noWorker: true, config: { purposes: [...clean.map((r) => r.key), ...spare], backups: { retentionDays: 0 }, rewrap: { requestsPerSecond: 20_000, reservePercent: 50, concurrency: 8, pageKeys: 5, stretchKeys: 6, stretches: 1 } } });
    worker = new Killable(world.dataDir);
    await worker.start([]);
    await prepare(clean);
    await Promise.all(clean.map(rotate));
    labels = Object.fromEntries(await Promise.all(clean.map(async (r) => [r.mode, await labelsOf(world, r.workflowId)]))) as typeof labels;
  }, 240_000);
  afterAll(async () => {
    worker?.end();
    await world?.stop();
  });

  function run(key: string, mode: Mode): Run {
    return { key, mode, workflowId: `rotateKey-${key}` };
  }

  async function prepare(runs: Run[]): Promise<void> {
    await world.initialize(...runs.map((r) => r.key));
    for (const r of runs) {
      await addSubjects(world, r.key, 0, KEYS);
      await addColumnKey(world, r.key, `CEK_${r.key}`);
    }
  }

  /** To its end, through as many workers as it takes. */
  async function rotate(r: Run): Promise<RotateResult> {
    const input: RotateInput = { key: r.key, ...(r.mode === 'in-place' ? {} : { strategy: 'replace' }) };
    const proof = await world.sign('dave', 'KeyManagementAdmin', await world.plan('rotateKey', input, { workflowId: r.workflowId }));
    const handle = await world.client.workflow.start('rotateKey', { taskQueue: WORKFLOW_QUEUE, workflowId: r.workflowId, args: [{ ...input, proof }] });
    if (r.mode !== 'in-place') {
      await world.until(`${r.workflowId} waits for the sign-off`, async () => (await world.status(r.workflowId)).phase === 'waiting for the sign-off', 240_000);
      const decision = r.mode === 'replace' ? 'approve' : 'reject';
      await handle.signal(decision, { proof: await world.token(r.workflowId, 'rotateKey', input, 'carol', 'KeyManagementAdmin', { decision }) });
    }
    return handle.result() as Promise<RotateResult>;
  }

  it('a clean run has the activities that are known to matter', () => {
    const all = Object.values(labels).flat().map((l) => l.replace(/[:#].*/, ''));
    expect([...new Set(all)]).toEqual(expect.arrayContaining(['considerRotation', 'beginRotation', 'makeMaterial', 'rewrapColumnKeys', 'planStretches', 'rewrapStretch', 'verifyRotation', 'endRotation', 'considerReplacement', 'beginReplacement', 'makeReplacement', 'verifyReplacement', 'considerCutover', 'cutover', 'deactivate', 'settleReplacement', 'rollBack', 'withdrawReplacement', 'endReplacement']));
  });

  it('each ends as it should, with nothing left where it should not be, and no CMK or material made twice', async () => {
    const killed: Run[] = [];
    for (const mode of MODES) {
      for (const label of labels[mode].filter((l) => !VARIES.test(l))) {
        if (mode === 'back' && labels.replace.includes(label)) continue; // the way there is the same
        for (const when of CHANGES.test(label) ? (['before', 'after'] as const) : (['after'] as const)) {
          const r = run(spare.shift()!, mode);
          killed.push({ ...r, point: { workflowId: r.workflowId, label, when } });
        }
      }
    }
    await prepare(killed);
    const before = new Map(await Promise.all(killed.map(async (r) => [r.key, { keyId: await world.keyId(r.key), subject: await openSubject(world, r.key, 3), cek: await openColumnKey(world, r.key, `CEK_${r.key}`) }] as const)));
    const since = new Date().toISOString();
    await worker.start(killed.map((r) => r.point!));
    const ends = await Promise.all(killed.map((r) => rotate(r)));
    expect(worker.haltedAt()).toEqual(killed.map((r) => id(r.point!)).sort());
    expect(worker.kills).toBeGreaterThan(0);
    for (const [i, r] of killed.entries()) {
      const { keyId, subject, cek } = before.get(r.key)!;
      const at = `${r.key} ${id(r.point!)}`;
      const end = ends[i]!;
      const now = await world.keyId(r.key);
      const counts = async (k: string) => Object.values(await world.store.real.countWrapped(k));
      expect([at, end.outcome]).toEqual([at, { 'in-place': 'rotated', replace: 'replaced', back: 'rolled-back' }[r.mode]]);
      expect([at, await openSubject(world, r.key, 3), await openColumnKey(world, r.key, `CEK_${r.key}`)]).toEqual([at, subject, cek]);
      if (r.mode === 'in-place') {
        const { current, onDemand } = await materialsNow(world, r.key);
        expect([at, onDemand, await world.store.real.countStale(keyId, current)]).toEqual([at, 1, { stale: 0, setAside: 0 }]);
      } else if (r.mode === 'replace') {
        expect([at, now, await counts(keyId), await counts(now)]).toEqual([at, end.replacement, [0, 0], [1, KEYS]]);
      } else {
        expect([at, now, await counts(keyId), await counts(end.replacement!), await world.states(end.replacement!)]).toEqual([at, keyId, [1, KEYS], [0, 0], DOWN]);
        expect(await world.states(keyId)).toEqual(UP);
      }
    }
    // one new CMK for each replacement, whatever died: KMS's own record, lost answers included
    const made = (await world.kms.admin.calls({ operation: 'CreateKey' })).filter((c) => c.region === REGIONS[0] && c.errorCode === undefined && c.time >= since);
    expect(made).toHaveLength(killed.filter((r) => r.mode !== 'in-place').length);
    expect(await checkInvariants(world)).toEqual([]);
  }, 500_000);
});
