/** A worker in a process of its own that is killed (SIGKILL) at given points, and started again. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { defaultPayloadConverter } from '@temporalio/common';
import type { World } from '../harness/world';
import type { Orders, Point } from './fixture/worker-entry';

const root = resolve(__dirname, '../..');

/** The activities of a history, in order. */
export async function labelsOf(world: World, workflowId: string): Promise<string[]> {
  const { events } = await world.client.workflow.getHandle(workflowId).fetchHistory();
  const count = new Map<string, number>();
  return (events ?? []).flatMap((e) => {
    const scheduled = e.activityTaskScheduledEventAttributes;
    if (!scheduled) return [];
    const [first] = scheduled.input?.payloads ?? [];
    const { region, kind } = (first === undefined ? {} : defaultPayloadConverter.fromPayload(first)) as { region?: string; kind?: string };
    const like = `${scheduled.activityType?.name ?? ''}${region === undefined ? '' : `:${region}`}${kind === undefined ? '' : `:${kind}`}`;
    count.set(like, (count.get(like) ?? 0) + 1);
    return [`${like}#${count.get(like)!}`];
  });
}

/** How a point is written in the record of those that were met. */
export const id = (p: Point): string => `${p.workflowId} ${p.when} ${p.label}`;

/** The worker's process, started again whenever it has killed itself. */
export class Killable {
  kills = 0;
  private child: ChildProcess | undefined;
  private round = 0;
  private orders: Orders | undefined;
  private readonly entry: string;

  constructor(private readonly dir: string) {
    this.entry = join(root, 'dist/test', `killable-${process.pid}.js`);
    execFileSync(join(root, 'node_modules/.bin/esbuild'), [join(__dirname, 'fixture/worker-entry.ts'), '--bundle', '--platform=node', '--format=cjs', '--target=node20', '--external:@temporalio/*', '--external:libsql', '--log-level=error', `--outfile=${this.entry}`]);
  }

  async start(points: Point[]): Promise<void> {
    this.stop();
    const file = (name: string): string => join(this.dir, `${name}-${this.round}`);
    this.round++;
    this.orders = { points, begun: file('begun'), halted: file('halted') };
    writeFileSync(file('orders'), JSON.stringify(this.orders));
    await this.spawn(file('orders'));
  }

  private async spawn(orders: string): Promise<void> {
    const child = spawn(process.execPath, [this.entry, orders], { env: { ...process.env }, stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    child.stderr!.on('data', (d: Buffer) => (said = (said + d.toString()).slice(-2_000)));
    this.child = child;
    child.on('exit', (_code, signal) => {
      if (this.child !== child) return; // stopped by the test
      if (signal !== 'SIGKILL') return; // failed by itself: nobody goes on, and the test says so
      this.kills++;
      void this.spawn(orders).catch(() => undefined);
    });
    await new Promise<void>((ready, failed) => {
      child.stdout!.once('data', () => ready());
      child.once('exit', (code) => failed(new Error(`the worker ended with ${String(code)}: ${said}`)));
    });
  }

  haltedAt(): string[] {
    const { halted } = this.orders!;
    return existsSync(halted) ? readFileSync(halted, 'utf8').split('\n').filter((l) => l !== '').sort() : [];
  }

  stop(): void {
    const child = this.child;
    this.child = undefined;
    child?.kill('SIGKILL');
  }

  end(): void {
    this.stop();
    rmSync(this.entry, { force: true });
  }
}
