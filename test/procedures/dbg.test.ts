import { createWorld, days, type World } from '../harness/world';
import { decide, pass, resultOf } from './people';
let world: World;
beforeAll(async () => { world = await createWorld({ timeSkipping: true }); await world.initialize('user-data'); });
afterAll(() => world.stop());
it('dbg', async () => {
  const t0 = Date.now();
  const show = async (id: string, w: string) => { const st = await world.status(id).catch(e => ({ phase: String(e), missing: [], steps: [] as any[], pendingApproval: undefined })); process.stderr.write(`${Date.now() - t0} ${w} ${new Date(await world.now()).toISOString()} ${st.phase} missing=${JSON.stringify(st.missing)} sign=${st.pendingApproval?.missing} ${JSON.stringify(st.steps.filter((x: any) => ['running', 'retrying', 'failed'].includes(x.state)).map((x: any) => [x.name, x.state, x.detail]))}\n`); };
  const input = { key: 'user-data', reason: 'x', mode: 'quarantine' as const, afterWindow: 'deletion-scheduled' as const };
  const open = await world.revoke(input);
  await world.stepsDone(open.workflowId, 'alert', 'open-window', 'prove-effect', 'census');
  await world.until('gate', async () => (await world.status(open.workflowId)).pendingApproval !== undefined);
  await decide(world, open.workflowId, 'revokeKey', input, 'bob', 'KeyRecoveryAdmin');
  for (let i = 0; i < 20 && !['done','failed'].includes((await world.status(open.workflowId)).steps.find(s => s.name === 'quarantine')!.state); i++) { await show(open.workflowId, 'quarantining'); await new Promise(r => setTimeout(r, 1000)); }
  const second = await world.revoke({ key: 'user-data', reason: 'y' });
  await world.stepsDone(second.workflowId, 'open-window');
  for (let i = 0; i < 5; i++) { await show(open.workflowId, 'first'); await show(second.workflowId, 'second'); await new Promise(r => setTimeout(r, 1000)); }
  await pass(world, days(7) + 60_000);
  for (let i = 0; i < 40; i++) { await show(open.workflowId, 'first'); await show(second.workflowId, 'second'); await new Promise(r => setTimeout(r, 2000));
   if ((await world.client.workflow.getHandle(second.workflowId).describe()).status.name !== 'RUNNING') break; }
});
