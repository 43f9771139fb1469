import { KMSClient } from '@aws-sdk/client-kms';
import { KeyManagementService, openStore } from '../../client';

/** One process of an application: waits for the moment that all were told, then initializes the same subjects as all others, and encrypts for each. */
const { database, endpoint, credentials, config, subjects, at } = JSON.parse(process.argv[2]!) as { database: string; endpoint: string; credentials: { accessKeyId: string; secretAccessKey: string }; config: { application: string; environment: string; purposes: string[]; alerts: { topicArn: string } }; subjects: string[]; at: number };

async function main(): Promise<void> {
  const store = await openStore(database);
  const service = new KeyManagementService({ store, kms: [new KMSClient({ region: 'us-east-1', endpoint, credentials })], config });
  await new Promise((r) => setTimeout(r, at - Date.now()));
  const made = await Promise.all(subjects.map(async (s) => (await service.initializeUserEncryption(s)).created));
  const messages = await Promise.all(subjects.map(async (subjectId) => (await service.encrypt({ subjectId, field: 'f' }, `${subjectId} of ${process.pid}`)).toString('base64')));
  await service.close();
  await store.close();
  process.stdout.write(JSON.stringify({ pid: process.pid, made, messages }));
}

void main().catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
