import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { historyFromJSON } from '@temporalio/common/lib/proto-utils';
import { bundleWorkflowCode, DefaultLogger, Worker, type WorkflowBundleWithSourceMap } from '@temporalio/worker';
import { HISTORIES, record, recordErasures } from './record';

jest.setTimeout(300_000);

const quiet = new DefaultLogger('ERROR', () => undefined);

function golden(): { name: string; workflowId: string; history: ReturnType<typeof historyFromJSON> }[] {
  return readdirSync(HISTORIES).filter((f) => f.endsWith('.json')).sort().map((file) => {
    const { workflowId, history } = JSON.parse(readFileSync(join(HISTORIES, file), 'utf8')) as { workflowId: string; history: unknown };
    return { name: file.replace('.json', ''), workflowId, history: historyFromJSON(history) };
  });
}

/** Replay errors by name of the history; `runReplayHistories` itself never throws on non-determinism. */
async function replay(workflowBundle: { code: string } | WorkflowBundleWithSourceMap): Promise<Record<string, string>> {
  const errors: Record<string, string> = {};
  const histories = golden();
  const results = Worker.runReplayHistories({ workflowBundle }, histories.map(({ workflowId, history }) => ({ workflowId, history })));
  let seen = 0;
  for await (const result of results) {
    seen++;
    const { name } = histories.find((h) => h.workflowId === result.workflowId)!;
    if (result.error !== undefined) errors[name] = String(result.error);
  }
  expect(seen).toBe(histories.length);
  return errors;
}

beforeAll(async () => {
  if (process.env['KEYWARDEN_RECORD'] === '1') await record();
  if (process.env['KEYWARDEN_RECORD'] === 'erasures') await recordErasures();
});

it('every ending of every procedure has a golden history', () => {
  expect(golden().map((h) => h.name)).toEqual([
    'eraseSubject-proven', 'eraseSubject-rejected', 'eraseSubject-restored', 'initializeKeys', 'recoverKey-preempted', 'recoverKey-recovered', 'recoverKey-refused', 'recoverKey-rejected', 'revokeKey-deletion-scheduled', 'revokeKey-destroyed', 'revokeKey-disabled', 'revokeKey-joined', 'revokeKey-quarantine-unsigned', 'revokeKey-quarantined', 'revokeKey-recovered', 'revokeKey-rejected', 'rotateColumnEncryptionKey', 'rotateDueKeys', 'rotateKey-rejected', 'rotateKey-replaced', 'rotateKey-rolled-back', 'rotateKey-rotated',
  ]);
});

it('rule 2: in each recorded revocation the first workflow task scheduled the disabling and nothing else', () => {
  for (const { history } of golden().filter((h) => h.name.startsWith('revokeKey'))) {
    const events = history.events ?? [];
    const completed = events.findIndex((e) => e.workflowTaskCompletedEventAttributes);
    const commands = events.slice(completed + 1, events.findIndex((e, i) => i > completed && (e.workflowTaskScheduledEventAttributes ?? e.activityTaskStartedEventAttributes)));
    expect(commands.map((e) => e.activityTaskScheduledEventAttributes?.activityType?.name)).toEqual(['disableKey']);
  }
});

it('the workflows of this build replay every golden history', async () => {
  const code = readFileSync(join(__dirname, '../../dist/workflow-bundle.js'), 'utf8');
  expect(await replay({ code })).toEqual({});
});

it('a workflow whose steps were altered is caught', async () => {
  const bundle = await bundleWorkflowCode({ workflowsPath: join(__dirname, 'altered/index.ts'), logger: quiet });
  const errors = await replay(bundle);
  const revocations = golden().filter((h) => h.name.startsWith('revokeKey')).map((h) => h.name);
  expect(Object.keys(errors).sort()).toEqual(revocations);
});
