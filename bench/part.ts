import { NativeConnection, Worker } from '@temporalio/worker';
import { startWorker, type WorkerRun } from '../worker';
import { collectGarbage } from './garbage';
import { BENCH_QUEUE, type BenchActivities } from './queue';
import { exactNow } from './timing';

/** The product's worker as it is shipped, and beside it, in the same process and on the same connection, the queue of the empty activity. */
export async function startBenchWorker(run: WorkerRun): Promise<{ stop(): Promise<void> }> {
  const connection = await NativeConnection.connect({ address: process.env['TEMPORAL_ADDRESS']! });
  const activities: BenchActivities = {
    moment: async () => exactNow(),
    residentMegabytes: async () => {
      await collectGarbage();
      return process.memoryUsage.rss() / 2 ** 20;
    },
  };
  const beside = await Worker.create({ connection, taskQueue: BENCH_QUEUE, activities });
  const running = beside.run();
  const product = await startWorker({ ...run, parts: { connection, namespace: 'default' } });
  return {
    async stop() {
      beside.shutdown();
      await Promise.all([product.stop(), running]);
      await connection.close();
    },
  };
}
