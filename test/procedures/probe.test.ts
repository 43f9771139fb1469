import { createWorld, days, type World } from '../harness/world';
let world: World;
beforeAll(async () => { world = await createWorld({ timeSkipping: true }); await world.initialize('user-data'); });
afterAll(() => world.stop());
it('probe', async () => {
  console.log('after init', (await world.now()) - Date.now());
  const h = await world.revoke({ key: 'user-data', reason: 'x' });
  await world.stepsDone(h.workflowId, 'open-window', 'prove-effect', 'census');
  console.log('after revoke', (await world.now()) - Date.now());
  await world.env!.sleep(days(5));
  console.log('after sleep', ((await world.now()) - Date.now())/days(1), JSON.stringify(await world.status(h.workflowId)).slice(0,300));
  const r = await h.result();
  console.log('after result', ((await world.now()) - Date.now())/days(1), JSON.stringify(r));
  console.log((await world.received()).map(m=>m.kind));
  const w = h.workflowId;
  const rec = await world.recover({ key: 'user-data', reason: 'late' });
  console.log(await rec.result().catch(e => String(e.cause)), (await world.received()).map(m=>m.kind));
});
