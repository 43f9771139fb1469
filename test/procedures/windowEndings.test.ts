import { createWorld, days, type World } from '../harness/world';

const input = { key: 'user-data', reason: 'the key may have leaked' };

describe('when nobody recovers the key', () => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld({ timeSkipping: true });
    await world.initialize('user-data');
  });
  afterAll(() => world.stop());

  it('stays disabled at the end of the window, and security heard of it three times before', async () => {
    const handle = await world.revoke(input);
    const result = (await handle.result()) as { outcome: string; revokedAt: string; deadline: string; timeToDisabledMs: number };
    expect(result.outcome).toBe('disabled');
    expect(Date.parse(result.deadline) - Date.parse(result.revokedAt)).toBe(days(7));
    const kinds = (await world.received()).map((m) => m.kind);
    expect(kinds.filter((k) => k === 'window-reminder')).toHaveLength(3);
    expect(kinds).toContain('window-ended');
    expect(await world.states(await world.keyId('user-data'))).toEqual({ 'us-east-1': 'Disabled', 'us-west-2': 'Disabled' });
  });
});
