import { KeyManagementService } from '../../client';
import { SNSClient } from '@aws-sdk/client-sns';
import { codeOf } from '../harness/toThrowWithCode';
import { createWorld, type World } from '../harness/world';

describe('the library', () => {
  let world: World;
  let keys: KeyManagementService;
  beforeAll(async () => {
    world = await createWorld();
    await world.initialize('user-data');
    const sns = new SNSClient({ region: 'us-east-1', endpoint: world.snsUrl, credentials: { accessKeyId: 'x', secretAccessKey: 'x' } });
    keys = new KeyManagementService({ temporal: world.client, sns, config: world.config });
  });
  afterAll(() => world.stop());

  it('refuses bad input with the path of the field before anything is started', async () => {
    const hostile = { key: 'user-data', reason: '' };
    expect(await codeOf(keys.emergencyRevokeKey(hostile))).toBe('KW-INPUT');
    expect(await codeOf(keys.recoverKey({ key: 'user-data', reason: 'x', surprise: 1 } as never))).toBe('KW-INPUT');
    await expect(keys.emergencyRevokeKey({ key: 'user-data', reason: 'x', surprise: 1 } as never)).rejects.toMatchObject({ path: 'input.surprise' });
  });

  it('revokes with a proof and recovers with two signatures', async () => {
    const input = { key: 'user-data', reason: 'the application saw a leak' };
    const workflowId = world.id('revokeKey');
    const proof = await world.sign('alice', 'EmergencyKeyAdmin', await world.plan('revokeKey', input, { workflowId }));
    const revocation = await keys.emergencyRevokeKey({ ...input, workflowId, proof });
    await world.stepsDone(workflowId, 'disable', 'open-window', 'prove-effect');
    expect(Object.values(await world.states(await world.keyId('user-data')))).toEqual(['Disabled', 'Disabled']);
    const recovery = await keys.recoverKey(input);
    await world.until('it waits', async () => (await recovery.status()).pendingApproval !== undefined);
    for (const name of ['bob', 'carol']) await world.client.workflow.getHandle(recovery.workflowId).signal('approve', { proof: await world.token(recovery.workflowId, 'recoverKey', input, name, 'KeyRecoveryAdmin') });
    expect(await recovery.result()).toMatchObject({ outcome: 'recovered', signedBy: ['bob', 'carol'] });
    expect(await revocation.result()).toMatchObject({ outcome: 'recovered' });
  });

  it('tells security; a repeat carries the same event id', async () => {
    const alert = { key: 'user-data', detail: 'a door was left open', eventId: 'door-1' };
    const [first, second] = [await keys.alertSecurityTeam(alert), await keys.alertSecurityTeam(alert)];
    expect(first.eventId).toBe(second.eventId);
    await world.until('both arrived', async () => (await world.received()).filter((m) => m.eventId === first.eventId).length === 2);
  });
});
