import { spawn, type ChildProcess } from 'node:child_process';
import { appendFileSync, rmSync } from 'node:fs';
import { PublishCommand, SNSClient } from '@aws-sdk/client-sns';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { readReceived, receivedPath, setSnsFaults } from '../../local/sns';
import { freePort } from '../../local/supervise/ports';
import { bundleFixture, newFolder } from './fixture/run-stack';

jest.setTimeout(60_000);

const account = '111122223333';
const region = 'eu-central-1';

let entry: string;
let dataDir: string;
let port: number;
let child: ChildProcess;
let url: string;
let topicArn: string;

async function startSns(): Promise<void> {
  const options = { dataDir, port, topics: ['security', 'other'], account, region };
  child = spawn(process.execPath, [entry, JSON.stringify(options)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const line = await new Promise<string>((resolve) => child.stdout?.once('data', (d: Buffer) => resolve(d.toString())));
  const ready = JSON.parse(line) as { url: string; topicArns: Record<string, string> };
  url = ready.url;
  topicArn = ready.topicArns.security as string;
}

async function killSns(): Promise<void> {
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
}

function publish(Message: string, extra: { Subject?: string; TopicArn?: string } = {}) {
  const credentials = { accessKeyId: 'keywarden-routine', secretAccessKey: 'x' };
  const client = new SNSClient({ endpoint: url, region, credentials, maxAttempts: 1, requestHandler: new NodeHttpHandler({ requestTimeout: 1_000, throwOnRequestTimeout: true }) });
  const MessageAttributes = { eventId: { DataType: 'String', StringValue: 'e-1' } };
  return client.send(new PublishCommand({ TopicArn: topicArn, Message, MessageAttributes, ...extra }));
}

const messages = () => readReceived(dataDir).map((m) => m.message);

beforeAll(() => {
  entry = bundleFixture('sns-entry');
});
afterAll(() => rmSync(entry, { force: true }));
beforeEach(async () => {
  dataDir = newFolder();
  port = await freePort();
  await startSns();
});
afterEach(async () => {
  await killSns();
  rmSync(dataDir, { recursive: true, force: true });
});

describe('a message that SNS accepted', () => {
  it('stands in the file with all its parts when the answer arrives', async () => {
    // an ARN in the text stays as it is
    const text = `key arn:aws:kms:${region}:${account}:key/mrk-1 disabled — 2 Regions`;
    const { MessageId } = await publish(text, { Subject: 'revoked' });
    expect(readReceived(dataDir)).toEqual([
      { at: expect.stringMatching(/^\d{4}-.*Z$/), topicArn: `arn:aws:sns:${region}:${account}:security`, messageId: MessageId, subject: 'revoked', message: text, attributes: { eventId: 'e-1' } },
    ]);
    expect(await (await fetch(new URL('/_local/received', url))).json()).toEqual(readReceived(dataDir));
  });

  it('outlives kill -9, and so do the topics', async () => {
    await publish('before');
    await killSns();
    await startSns();
    await publish('after');
    expect(messages()).toEqual(['before', 'after']);
  });

  it('is kept in order, each once, when many come at once', async () => {
    await Promise.all(Array.from({ length: 25 }, (_, i) => publish(`m${i}`)));
    expect(new Set(messages())).toEqual(new Set(Array.from({ length: 25 }, (_, i) => `m${i}`)));
    expect(messages()).toHaveLength(25);
  });
});

it('cuts off half a line that a killed process left', async () => {
  await publish('whole');
  await killSns();
  appendFileSync(receivedPath(dataDir), '{"at":"2026');
  expect(messages()).toEqual(['whole']);
  await startSns();
  await publish('next');
  expect(messages()).toEqual(['whole', 'next']);
});

it('refuses a topic that was not given, and one of another account', async () => {
  await expect(publish('m', { TopicArn: `${topicArn}-unknown` })).rejects.toMatchObject({ name: 'NotFoundException' });
  await expect(publish('m', { TopicArn: topicArn.replace(account, '999999999999') })).rejects.toMatchObject({ name: 'NotFoundException' });
  expect(messages()).toEqual([]);
});

describe('faults on demand', () => {
  it('answers 500 and delivers nothing, until told otherwise', async () => {
    await setSnsFaults(url, { mode: 'error' });
    await expect(publish('lost')).rejects.toMatchObject({ $metadata: { httpStatusCode: 500 } });
    await expect(publish('lost too')).rejects.toThrow();
    await setSnsFaults(url, { mode: 'none' });
    await publish('through');
    expect(messages()).toEqual(['through']);
  });

  it('is silent', async () => {
    await setSnsFaults(url, { mode: 'silent' });
    await expect(publish('lost')).rejects.toMatchObject({ name: 'TimeoutError' });
    expect(messages()).toEqual([]);
  });

  it('drops connections, for as many requests as asked', async () => {
    await setSnsFaults(url, { mode: 'drop', count: 2 });
    await expect(publish('1')).rejects.toThrow();
    await expect(publish('2')).rejects.toThrow();
    await publish('3');
    expect(messages()).toEqual(['3']);
  });

  it('loses the answer of what it delivered', async () => {
    await setSnsFaults(url, { mode: 'lose-answer', count: 1 });
    await expect(publish('delivered')).rejects.toThrow();
    expect(messages()).toEqual(['delivered']);
  });
});
