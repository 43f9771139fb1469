import { SNSClient } from '@aws-sdk/client-sns';
import { KeyManagementService } from '../../client';
import type { RevokeInput } from '../../domain/inputs';
import { setSnsFaults } from '../../local/sns';
import { codeOf } from '../harness/toThrowWithCode';
import { createWorld, type World } from '../harness/world';
import { decide, DISABLED, ENABLED } from '../procedures/people';

describe('the library on a running Keywarden', () => {
  let world: World;
  let service: KeyManagementService;
  beforeAll(async () => {
    world = await createWorld();
    await world.initialize('user-data');
    service = new KeyManagementService({ temporal: world.client, sns: new SNSClient({ region: 'us-east-1', endpoint: world.snsUrl, credentials: { accessKeyId: 'AKIALOCALSNS', secretAccessKey: 'local' } }), config: world.config });
  });
  afterAll(() => world.stop());

  it('revokes at once with a proof, recovers when two have signed, and both results arrive', async () => {
    const input: RevokeInput = { key: 'user-data', reason: 'from the application' };
    const workflowId = 'revokeKey-from-the-library';
    const proof = await world.sign('alice', 'EmergencyKeyAdmin', await world.plan('revokeKey', input, { workflowId }));
    const revocation = await service.emergencyRevokeKey({ ...input, workflowId, proof });
    expect(revocation.workflowId).toBe(workflowId);
    await world.stepsDone(workflowId, 'open-window', 'prove-effect');
    expect((await revocation.status()).phase).toBe('window open');
    expect(await world.states(await world.keyId('user-data'))).toEqual(DISABLED);

    const back = { key: 'user-data', reason: 'from the application' };
    const recovery = await service.recoverKey(back);
    await world.until('it waits', async () => (await recovery.status()).pendingApproval?.missing === 2);
    await decide(world, recovery.workflowId, 'recoverKey', back, 'bob', 'KeyRecoveryAdmin');
    await decide(world, recovery.workflowId, 'recoverKey', back, 'carol', 'KeyRecoveryAdmin');
    expect(await recovery.result()).toMatchObject({ outcome: 'recovered' });
    expect(await revocation.result()).toMatchObject({ outcome: 'recovered' });
    expect(await world.states(await world.keyId('user-data'))).toEqual(ENABLED);
  });

  it('starts nothing twice under one workflow id while it is open', async () => {
    const workflowId = 'revokeKey-once';
    await service.emergencyRevokeKey({ key: 'user-data', reason: 'x', workflowId });
    await expect(service.emergencyRevokeKey({ key: 'user-data', reason: 'x', workflowId })).rejects.toThrow();
    await world.client.workflow.getHandle(workflowId).terminate();
  });

  it('tells security, a repeat under the same event id', async () => {
    const first = await service.alertSecurityTeam({ key: 'user-data', detail: 'Many decrypts from one host.', eventId: 'seen-1' });
    const again = await service.alertSecurityTeam({ key: 'user-data', detail: 'Many decrypts from one host.', eventId: 'seen-1' });
    expect(again.eventId).toBe(first.eventId);
    const told = await world.until('both arrived', async () => {
      const found = (await world.received()).filter((m) => m.eventId === first.eventId);
      return found.length === 2 && found;
    });
    expect(told[0]!.text).toContain('Many decrypts from one host.');
  });

  it('says KW-SNS when SNS does not take the message, KW-INPUT without a topic', async () => {
    await setSnsFaults(world.snsUrl, { mode: 'error', status: 503 });
    expect(await codeOf(service.alertSecurityTeam({ key: 'user-data' }))).toBe('KW-SNS');
    await setSnsFaults(world.snsUrl, { mode: 'none' });
    expect(await codeOf(new KeyManagementService({ temporal: world.client }).alertSecurityTeam({ key: 'user-data' }))).toBe('KW-INPUT');
  });
});
