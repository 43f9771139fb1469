/** A local KMS of the test file's own, and clients of the real SDK that call it as named people. */
import { KMSClient } from '@aws-sdk/client-kms';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startLocalKms, type LocalKms, type LocalKmsOptions } from '../../local/kms';

export const ACCOUNT = '000000000000';
export const DAY = 86_400_000;
export const EAST = 'us-east-1';
export const WEST = 'us-west-2';

export const role = (name: string): string => `arn:aws:iam::${ACCOUNT}:role/${name}`;
export const session = (name: string): string => `arn:aws:sts::${ACCOUNT}:assumed-role/${name}/worker`;
const allowAll = { Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action: 'kms:*', Resource: '*' }] };

export const PRINCIPALS = {
  AKIAROOT: { arn: `arn:aws:iam::${ACCOUNT}:root` },
  AKIAADMIN: { arn: session('admin'), identityPolicy: allowAll },
  AKIAREWRAP: { arn: session('rewrap') },
  AKIAREADER: { arn: session('reader'), identityPolicy: { Statement: { Effect: 'Allow', Action: ['kms:Decrypt', 'kms:DescribeKey'], Resource: '*' } } },
  AKIANOBODY: { arn: session('nobody') },
};
export type Caller = keyof typeof PRINCIPALS;

export function clientAt(url: string, region = EAST, accessKeyId = 'AKIAROOT'): KMSClient {
  return new KMSClient({ endpoint: url, region, maxAttempts: 1, credentials: { accessKeyId, secretAccessKey: 'not-checked' } });
}

export interface Fixture {
  readonly kms: LocalKms;
  /** Remembered, one for each Region and caller. */
  client(region?: string, caller?: Caller): KMSClient;
  stop(): Promise<void>;
}

export async function startFixture(options: Partial<LocalKmsOptions> = {}): Promise<Fixture> {
  const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), 'local-kms-'));
  const kms = await startLocalKms({ quotas: 'off', principals: PRINCIPALS, propagationMs: 20, ...options, dataDir });
  const clients = new Map<string, KMSClient>();
  return {
    kms,
    client(region = EAST, caller = 'AKIAROOT') {
      const name = `${region} ${caller}`;
      if (!clients.has(name)) clients.set(name, clientAt(kms.url, region, caller));
      return clients.get(name)!;
    },
    async stop() {
      for (const client of clients.values()) client.destroy();
      await kms.stop();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

export interface SeenError { name: string; message: string; status: number | undefined }

/** The error of a call that must fail. */
export async function errorOf(call: Promise<unknown>): Promise<SeenError> {
  let answer: unknown;
  try {
    answer = await call;
  } catch (error) {
    const { name, message, $metadata } = error as { name: string; message: string; $metadata?: { httpStatusCode?: number } };
    return { name, message, status: $metadata?.httpStatusCode };
  }
  throw new Error(`expected an error, got ${JSON.stringify(answer)}`);
}

/** Resolves when `check` is true; it is asked every few milliseconds for two seconds. */
export async function until(check: () => Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    if (await check()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error('did not come true in two seconds');
}
