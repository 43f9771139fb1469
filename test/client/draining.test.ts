import { createWorld, type World } from '../harness/world';
import { decide, resultOf } from '../procedures/people';
import type { RevokeResult } from '../../workflows/revokeKey';
import { application } from './application';

describe('a revocation and the applications that hold keys', () => {
  let world: World;
  const step = async (id: string, name: string) => (await world.status(id)).steps.find((s) => s.name === name)!;
  beforeAll(async () => {
    world = await createWorld();
    await world.initialize('user-data', 'payment-data', 'audit-data');
  });
  afterAll(() => world.stop());

  it('says how long until the last had acknowledged; one that never does delays nothing, is named, and runs out by age', async () => {
    const a = application(world, { name: 'web-1' });
    const b = application(world, { name: 'web-2' });
    await a.initializeUserEncryption('ada');
    for (const app of [a, b]) await app.encrypt({ subjectId: 'ada', field: 'f' }, 'x');
    const drainsWithinMs = 12_000;
    await world.store.real.saveConsumer({ consumerId: 'frozen', purposes: ['user-data'], drainsWithinMs }, []);
    await world.store.real.saveConsumer({ consumerId: 'other-purpose', purposes: ['tde'], drainsWithinMs }, []);

    const { workflowId } = await world.revoke({ key: 'user-data', reason: 'who holds keys?' });
    await world.stepsDone(workflowId, 'alert', 'open-window', 'prove-effect', 'census');
    const waiting = await world.until('both have acknowledged', async () => {
      const s = await step(workflowId, 'drain');
      return s.detail?.startsWith('2 of 3') === true && s;
    }, 8_000);
    expect(waiting).toMatchObject({ state: 'running', detail: expect.stringMatching(/^2 of 3 have acknowledged, the last \d+ (ms|s) after the disabling; not yet: frozen$/) });
    await world.until('what the third held has run out', async () => (await step(workflowId, 'drain')).state === 'done', 20_000);
    expect((await step(workflowId, 'drain')).detail).toContain('never, but what they held has run out: frozen');

    await finish(workflowId, 'user-data');
    const { consumers } = await resultOf<RevokeResult>(world, workflowId);
    expect(consumers).toMatchObject({ total: 3, acknowledged: 2, waitingCount: 0, lapsed: [{ consumerId: 'frozen' }] });
    expect(consumers!.lastAfterMs).toBeGreaterThan(0);
    expect(consumers!.lastAfterMs).toBeLessThan(6_000);
    await a.close();
    await b.close();
  });

  it('is not held up by it when the key is recovered meanwhile', async () => {
    await world.store.real.saveConsumer({ consumerId: 'hung', purposes: ['payment-data'], drainsWithinMs: 600_000 }, []);
    const { workflowId } = await world.revoke({ key: 'payment-data', reason: 'who holds keys?' });
    await world.stepsDone(workflowId, 'open-window', 'prove-effect');
    await world.until('it waits', async () => (await step(workflowId, 'drain')).detail?.includes('not yet: hung'), 8_000);
    await finish(workflowId, 'payment-data');
    const { outcome, consumers } = await resultOf<RevokeResult>(world, workflowId);
    expect([outcome, consumers?.waitingCount]).toEqual(['recovered', 1]);
    expect((await step(workflowId, 'drain')).state).toBe('skipped');
  });

  it('of yesterday that said no goodbye, and hostile ones, hold nothing up', async () => {
    await world.store.real.saveConsumer({ consumerId: 'x'.repeat(5_000), purposes: ['audit-data'], drainsWithinMs: Number.MAX_SAFE_INTEGER }, [{ keyId: await world.keyId('audit-data'), epoch: 1_000_000 }]);
    const { workflowId } = await world.revoke({ key: 'audit-data', reason: 'who holds keys?' });
    await world.stepsDone(workflowId, 'alert', 'open-window', 'prove-effect', 'census', 'drain');
    expect((await step(workflowId, 'drain')).detail).toContain('1 of 1 have acknowledged');
    await finish(workflowId, 'audit-data');
    expect((await resultOf<RevokeResult>(world, workflowId)).outcome).toBe('recovered');
  });

  async function finish(revocation: string, key: string): Promise<void> {
    const back = { key, reason: `after ${revocation}` };
    const recovery = await world.recover(back, 'alice');
    await decide(world, recovery.workflowId, 'recoverKey', back, 'bob', 'KeyRecoveryAdmin');
    expect(await resultOf(world, recovery.workflowId)).toMatchObject({ outcome: 'recovered' });
  }
});
