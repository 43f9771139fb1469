import { randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import Database from 'libsql';
import type { RegionalKms } from '../activities/kms';
import { rotationPlan } from '../activities/planning';
import type { Config } from '../domain/config';
import { subjectContext } from '../domain/encryptionContext';
import { WORKFLOW_QUEUE } from '../domain/names';
import type { RotateResult } from '../workflows/rotateKey';
import { sideBySide, type MadeKey } from './keys';
import { BenchStack } from './stack';

/** Requests under way at once, of the product and of the bare loop alike. */
export const AT_ONCE = 8;
/** KMS answers in so many milliseconds, as AWS's does about. */
export const LATENCY_MS = 10;

export interface Wrapped {
  subjectId: string;
  ciphertext: Uint8Array;
}

/** A stack whose worker re-wraps at a given rate, and what the benchmarks do with it. */
export class RewrapStack {
  private constructor(readonly stack: BenchStack) {}

  static async start(rewrap: Partial<Config['rewrap']>, log: (line: string) => void): Promise<RewrapStack> {
    return new RewrapStack(await BenchStack.start(10, log, { rewrap: { concurrency: AT_ONCE, stretches: 4, stretchKeys: 1_250, pageKeys: 250, ...rewrap } as Config['rewrap'] }));
  }

  /** A CMK with so many subject keys under it. */
  async wrap(count: number): Promise<{ key: MadeKey; wrapped: Wrapped[] }> {
    const [key] = (await this.stack.keys(1)) as [MadeKey];
    const kms = this.kms('application');
    const ids = Array.from({ length: count }, (_, i) => `user-${String(i).padStart(8, '0')}`);
    const made = await sideBySide(ids, 24, async (subjectId) => ({ subjectId, ...(await kms.dataKey(key.keyId, this.context(key, subjectId))) }));
    const db = new Database(this.stack.environment['KEYWARDEN_DATABASE_URL']!.replace('file:', ''), { timeout: 10_000 });
    const insert = db.prepare('INSERT INTO subject_key (subject_id, purpose, encrypted_key, key_id, key_arn, key_material_id, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)');
    for (let i = 0; i < made.length; i += 1_000) {
      db.exec('BEGIN IMMEDIATE');
      for (const m of made.slice(i, i + 1_000)) insert.run(m.subjectId, key.purpose, Buffer.from(m.ciphertext).toString('base64'), key.keyId, `arn:aws:kms:${this.stack.config.regions[0]}:${this.stack.config.account}:key/${key.keyId}`, m.material!, new Date().toISOString());
      db.exec('COMMIT');
    }
    db.close();
    return { key, wrapped: made };
  }

  context(key: MadeKey, subjectId: string): Record<string, string> {
    return subjectContext(this.stack.config, key.purpose, subjectId);
  }

  kms(who: string): RegionalKms {
    return this.stack.kms(who).get(this.stack.config.regions[0]!)!;
  }

  /** The SDK alone, with the same concurrency; `perSecond` paces it. Answers milliseconds and CPU milliseconds. */
  async bare(key: MadeKey, wrapped: readonly Wrapped[], perSecond?: number): Promise<{ ms: number; cpuMs: number }> {
    const kms = this.kms('routine');
    const cpu = process.cpuUsage();
    const from = performance.now();
    let n = 0;
    await sideBySide(wrapped, AT_ONCE, async (w) => {
      const wait = perSecond === undefined ? 0 : from + (n++ * 1_000) / perSecond - performance.now();
      if (wait >= 1) await new Promise((r) => setTimeout(r, wait));
      await kms.reEncrypt(key.keyId, key.keyId, w.ciphertext, this.context(key, w.subjectId));
    });
    const { user, system } = process.cpuUsage(cpu);
    return { ms: performance.now() - from, cpuMs: (user + system) / 1_000 };
  }

  /** The whole procedure, signed. */
  async rotate(key: MadeKey): Promise<{ result: RotateResult; events: number; cpuMs: number }> {
    const { client, config } = this.stack;
    const input = { key: key.purpose, reason: 'benchmark' };
    const workflowId = `rotateKey-${key.purpose}-${randomUUID()}`;
    const proof = await this.stack.sign('dave', 'KeyManagementAdmin', rotationPlan(config, input, key, { workflowId }));
    const before = this.workerCpuMs();
    const handle = await client.workflow.start('rotateKey', { taskQueue: WORKFLOW_QUEUE, workflowId, args: [{ ...input, proof }] });
    const result = (await handle.result()) as RotateResult;
    const cpuMs = this.workerCpuMs() - before;
    let events = 0;
    for (let runId: string | null | undefined = handle.firstExecutionRunId; runId; ) {
      const { events: seen }: Awaited<ReturnType<typeof handle.fetchHistory>> = await client.workflow.getHandle(workflowId, runId).fetchHistory();
      events += seen?.length ?? 0;
      runId = seen?.at(-1)?.workflowExecutionContinuedAsNewEventAttributes?.newExecutionRunId;
    }
    return { result, events, cpuMs };
  }

  /** CPU of all threads of the worker's process (proc(5): utime and stime, in hundredths of a second). */
  private workerCpuMs(): number {
    const stat = readFileSync(`/proc/${this.stack.workerPid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) * 10;
  }

  /** Forgets the worker's peak of resident memory (proc(5), clear_refs), with what the run before has left uncollected. */
  async resetPeak(): Promise<void> {
    await this.stack.client.workflow.execute('benchMemory', { taskQueue: WORKFLOW_QUEUE, workflowId: `benchMemory-${randomUUID()}` });
    writeFileSync(`/proc/${this.stack.workerPid}/clear_refs`, '5');
  }

  peakMegabytes(): number {
    return Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${this.stack.workerPid}/status`, 'utf8'))![1]) / 1_024;
  }

  stop(): Promise<void> {
    return this.stack.stop();
  }
}
