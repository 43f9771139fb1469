import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { KMSClient } from '@aws-sdk/client-kms';
import { KeyManagementService } from '../client';
import { WORKFLOW_QUEUE } from '../domain/names';
import { openStore } from '../stores/open';
import type { Benchmark } from './benchmarks';
import { BenchStack } from './stack';
import { exactNow, median } from './timing';

/** A field as applications have them: a telephone number, an address. */
const FIELD_BYTES = 64;
const SUBJECTS = 100;
const A_ROUND = 20_000;
const ROUNDS = 15;

/** Decryptions a second with every key in the cache, against node:crypto with the key at hand; additional data and sizes alike, the two in turn. */
export const libraryDecrypt: Benchmark = {
  figures: ['library.decrypt'],
  measures: 'decryptions a second with a warm cache, against bare node:crypto',
  async run(session) {
    const stack = await BenchStack.start(0, session.note);
    try {
      await stack.client.workflow.execute('initializeKeys', { taskQueue: WORKFLOW_QUEUE, workflowId: 'initializeKeys', args: [{ purposes: ['user-data'] }] });
      const { AWS_ENDPOINT_URL_KMS: endpoint, KEYWARDEN_DATABASE_URL: database } = stack.environment;
      const store = await openStore(database!);
      const { application, environment } = stack.config;
      const kms = [new KMSClient({ region: stack.config.regions[0]!, endpoint: endpoint!, credentials: { accessKeyId: 'AKIALOCALAPPLICATION', secretAccessKey: 'local' } })];
      const service = new KeyManagementService({ store, kms, config: stack.config });
      const fields = await Promise.all(Array.from({ length: SUBJECTS }, async (_, i) => {
        const of = { subjectId: `subject-${i}`, field: 'phone' };
        await service.initializeUserEncryption(of.subjectId);
        return { of, message: await service.encrypt(of, randomBytes(FIELD_BYTES)) };
      }));
      const bare = fields.map(() => sealed(`${application} ${environment} user-data phone`));
      const ours: number[] = [];
      const theirs: number[] = [];
      for (let round = -2; round < ROUNDS; round++) {
        const mine = await timed(async () => {
          for (let i = 0; i < A_ROUND; i++) {
            const { of, message } = fields[i % SUBJECTS]!;
            await service.decrypt(of, message);
          }
        });
        const other = await timed(async () => {
          for (let i = 0; i < A_ROUND; i++) open(bare[i % SUBJECTS]!);
        });
        if (round < 0) continue; // compiled code
        ours.push(mine);
        theirs.push(other);
      }
      await service.close();
      await store.close();
      for (const k of kms) k.destroy();
      const perSecond = (ms: number): string => ((A_ROUND / ms) * 1_000).toFixed(0);
      session.note(`${perSecond(median(ours))}/s, bare ${perSecond(median(theirs))}/s`);
      const ratios = ours.map((ms, i) => theirs[i]! / ms).sort((a, b) => a - b);
      return [{ name: 'library.decrypt', unit: 'x', against: 'node:crypto with the key at hand, decryptions a second', goal: 0.5, atLeast: true, value: median(theirs) / median(ours), min: ratios[0]!, max: ratios.at(-1)! }];
    } finally {
      await stack.stop();
    }
  },
};

interface Sealed {
  key: Buffer;
  iv: Buffer;
  text: Buffer;
  tag: Buffer;
  bound: Buffer;
}

function sealed(bound: string): Sealed {
  const [key, iv] = [randomBytes(32), randomBytes(12)];
  const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(Buffer.from(bound));
  const text = Buffer.concat([cipher.update(randomBytes(FIELD_BYTES)), cipher.final()]);
  return { key, iv, text, tag: cipher.getAuthTag(), bound: Buffer.from(bound) };
}

function open({ key, iv, text, tag, bound }: Sealed): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', key, iv).setAAD(bound).setAuthTag(tag);
  return Buffer.concat([decipher.update(text), decipher.final()]);
}

async function timed(act: () => Promise<void>): Promise<number> {
  const since = exactNow();
  await act();
  return exactNow() - since;
}
