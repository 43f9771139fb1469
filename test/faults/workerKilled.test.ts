/**
 * The worker is killed (SIGKILL) after each activity of a revocation (disable, quarantine, destroyed) and of its recovery, and right before
 * each that changes the key: after the effect, its result not reported. Another worker goes on, and the procedure ends right.
 *
 * The activities are those of a clean run's history, so that none is forgotten. Each point has a key of its own; one SIGKILL hits all that have
 * arrived at their point, and whatever else was under way.
 */
import type { RevokeInput } from '../../domain/inputs';
import { policyDigest } from '../../domain/digest';
import { WORKFLOW_QUEUE } from '../../domain/names';
import { checkInvariants } from '../harness/invariants';
import { createWorld, REGIONS, type World } from '../harness/world';
import { isQuarantined, names, reason, signWidening, UP } from './acts';
import type { Point } from './fixture/worker-entry';
import { id, Killable, labelsOf } from './killable';

const MODES = {
  disable: { mode: 'disable' },
  quarantine: { mode: 'quarantine' },
  destroyed: { afterWindow: 'destroyed' },
} as const satisfies Record<string, Omit<RevokeInput, 'key' | 'reason'>>;
type Mode = keyof typeof MODES;
const CHANGES_THE_KEY = /^(disableKey|quarantineRegion|scheduleDeletion|cancelDeletion|restorePolicy|enableKey)\b/;
const STEPS: Record<Mode, string[]> = { disable: [], quarantine: ['sign-widening', 'quarantine'], destroyed: ['sign-widening', 'delete'] };
const ONCE_ALL_IS_BACK = 240_000;

interface Run {
  key: string;
  mode: Mode;
  revocation: string;
  recovery: string;
  point?: Point;
}

describe('when the worker is killed', () => {
  let world: World;
  let worker: Killable;
  const clean: Run[] = (Object.keys(MODES) as Mode[]).map((mode) => run(`clean-${mode}`, mode));
  const killed: Run[] = [];
  let labels: Record<Mode, { revocation: string[]; recovery: string[] }>;
  let policyBefore: string;

  beforeAll(async () => {
    world = await createWorld({ noWorker: true, config: { purposes: [...clean.map((r) => r.key), ...names('k', 70)] } });
    worker = new Killable(world.dataDir);
    await worker.start([]);
    await world.initialize(...clean.map((r) => r.key));
    policyBefore = policyDigest(await world.root.get(REGIONS[0])!.policy(await world.keyId(clean[0]!.key)));
    await Promise.all(clean.map((r) => revoke(r)));
    const revocations = await Promise.all(clean.map((r) => labelsOf(world, r.revocation)));
    await Promise.all(clean.map((r) => recover(r)));
    const recoveries = await Promise.all(clean.map((r) => labelsOf(world, r.recovery)));
    labels = Object.fromEntries(clean.map((r, i) => [r.mode, { revocation: revocations[i]!, recovery: recoveries[i]! }])) as typeof labels;
  }, 240_000);
  afterAll(async () => {
    worker?.end();
    await world?.stop();
  });

  function run(key: string, mode: Mode): Run {
    return { key, mode, revocation: `revokeKey-${key}`, recovery: `recoverKey-${key}` };
  }

  async function revoke(r: Run): Promise<void> {
    const input = { key: r.key, ...MODES[r.mode] };
    await world.revoke({ reason, ...input }, { workflowId: r.revocation });
    if (STEPS[r.mode].length > 0) await signWidening(world, r.revocation, input);
    const steps = ['disable', 'alert', 'open-window', 'prove-effect', 'census', ...STEPS[r.mode]];
    await world.until(`${r.revocation}: ${steps.join(', ')}`, async () => {
      const s = await world.status(r.revocation);
      return steps.every((n) => ['done', 'skipped'].includes(s.steps.find((x) => x.name === n)!.state));
    }, ONCE_ALL_IS_BACK).catch(async (error: Error) => {
      throw new Error(`${error.message}\n${JSON.stringify(await world.status(r.revocation), null, 1)}`);
    });
  }

  async function recover(r: Run): Promise<unknown> {
    const input = { key: r.key, reason };
    const proof = await world.sign('bob', 'KeyRecoveryAdmin', await world.plan('recoverKey', input, { workflowId: r.recovery }));
    const handle = await world.client.workflow.start('recoverKey', { taskQueue: WORKFLOW_QUEUE, workflowId: r.recovery, args: [{ ...input, proof }] });
    const second = await world.token(r.recovery, 'recoverKey', input, 'carol', 'KeyRecoveryAdmin');
    await handle.signal('approve', { proof: second });
    return handle.result();
  }

  it('a clean run has the activities that are known to matter', () => {
    const all = Object.values(labels).flatMap((l) => [...l.revocation, ...l.recovery]).map((l) => l.replace(/[:#].*/, ''));
    expect([...new Set(all)]).toEqual(expect.arrayContaining(['disableKey', 'openWindow', 'alert', 'proveEffect', 'endDisables', 'census', 'considerWidening', 'quarantineRegion', 'scheduleDeletion', 'considerRecovery', 'beginRecovery', 'cancelDeletion', 'restorePolicy', 'enableKey', 'proveRecovery', 'finishRecovery']));
  });

  it('after each activity of a revocation, in each mode: the key is down or as two have signed, and nothing was left out', async () => {
    const spare = names('k', 70);
    const use = (mode: Mode, label: string, when: Point['when']): void => {
      const r = run(spare.shift()!, mode);
      killed.push({ ...r, point: { workflowId: r.revocation, label, when } });
    };
    for (const mode of Object.keys(MODES) as Mode[]) {
      for (const label of labels[mode].revocation) {
        if (label.startsWith('windowState')) continue; // how often it looks depends on the moment
        use(mode, label, 'after');
        if (CHANGES_THE_KEY.test(label) && (mode !== 'disable' || label.startsWith('disableKey'))) use(mode, label, 'before');
      }
    }
    await world.initialize(...killed.map((r) => r.key));
    await worker.start(killed.map((r) => r.point!));
    await Promise.all(killed.map((r) => revoke(r)));
    expect(worker.haltedAt()).toEqual(killed.map((r) => id(r.point!)).sort());
    expect(worker.kills).toBeGreaterThan(0);
    for (const r of killed) {
      const keyId = await world.keyId(r.key);
      const states = Object.values(await world.states(keyId));
      const as = r.mode === 'disable' ? /^Disabled$/ : r.mode === 'quarantine' ? /^Enabled$/ : /^Pending(Replica)?Deletion$/;
      for (const s of states) expect(`${r.key} ${id(r.point!)}: ${s}`).toMatch(new RegExp(`: ${as.source.slice(1)}`));
      if (r.mode === 'quarantine') expect(await isQuarantined(world, keyId)).toBe(true);
    }
    expect(await checkInvariants(world)).toEqual([]);
  }, 400_000);

  it('after each activity of a recovery: the key comes back under its own policy, and the window closes', async () => {
    const points: Point[] = [];
    const spare: Record<Mode, Run[]> = { disable: [], quarantine: [], destroyed: [] };
    for (const r of killed) spare[r.mode].push(r);
    const use = (mode: Mode, label: string, when: Point['when']): void => {
      const r = spare[mode].shift();
      if (r === undefined) throw new Error(`too few ${mode} keys for ${label}`);
      points.push((r.point = { workflowId: r.recovery, label, when }));
    };
    // where the act has an effect: a deletion to cancel, a policy to restore
    for (const label of labels.destroyed.recovery.filter((l) => l.startsWith('cancelDeletion'))) (['before', 'after'] as const).forEach((when) => use('destroyed', label, when));
    for (const label of labels.quarantine.recovery.filter((l) => l.startsWith('restorePolicy'))) (['before', 'after'] as const).forEach((when) => use('quarantine', label, when));
    const rest = labels.disable.recovery.filter((l) => !/^(cancelDeletion|restorePolicy)/.test(l));
    const modes: Mode[] = ['destroyed', 'quarantine', 'disable'];
    for (const label of rest) {
      for (const when of CHANGES_THE_KEY.test(label) ? (['before', 'after'] as const) : (['after'] as const)) use(modes.find((m) => spare[m].length > 0) ?? 'disable', label, when);
    }
    const runs = killed.filter((r) => points.includes(r.point!));
    await worker.start(points);
    const ends = await Promise.all(runs.map((r) => recover(r)));
    for (const end of ends) expect(end).toMatchObject({ outcome: 'recovered', states: UP });
    expect(worker.haltedAt()).toEqual(points.map(id).sort());
    for (const r of runs) {
      const keyId = await world.keyId(r.key);
      for (const region of REGIONS) expect(policyDigest(await world.root.get(region)!.policy(keyId))).toBe(policyBefore);
      expect((await world.store.real.readKey(keyId))!.window!.outcome).toBe('recovered');
    }
    expect(await checkInvariants(world)).toEqual([]);
  }, 400_000);
});
