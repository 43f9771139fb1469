/** What was answered is there after `kill -9`, and after a write that was cut short. */
import { CreateAliasCommand, CreateGrantCommand, CreateKeyCommand, DecryptCommand, DescribeKeyCommand, DisableKeyCommand, EnableKeyCommand, EncryptCommand, GetKeyPolicyCommand, ListAliasesCommand, ListGrantsCommand, ListKeysCommand, ListResourceTagsCommand, TagResourceCommand, type KMSClient } from '@aws-sdk/client-kms';
import { buildSync } from 'esbuild';
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LocalKmsAdmin, startLocalKms } from '../../local/kms';
import { Store } from '../../local/kms/store';
import { EAST, PRINCIPALS, clientAt, role } from './fixture';

let scratch: string;
beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'local-kms-durability-'));
  buildSync({ entryPoints: [join(__dirname, '../../local/kms/serve.ts')], bundle: true, platform: 'node', outfile: join(scratch, 'serve.js') });
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

interface Server { readonly process: ChildProcess; readonly url: string }

function start(dataDir: string): Promise<Server> {
  const options = JSON.stringify({ dataDir, quotas: 'off', principals: PRINCIPALS });
  const child = spawn(process.execPath, [join(scratch, 'serve.js'), options], { stdio: ['ignore', 'pipe', 'inherit'] });
  return new Promise((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`the server ended with ${code}`)));
    child.stdout!.once('data', (line: Buffer) => resolve({ process: child, url: (JSON.parse(line.toString()) as { url: string }).url }));
  });
}

function kill({ process: child }: Server): Promise<void> {
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    child.kill('SIGKILL');
  });
}

/** Everything that the server can be asked about its keys. */
async function everything(kms: KMSClient): Promise<unknown> {
  const { Keys } = await kms.send(new ListKeysCommand({ Limit: 1000 }));
  const keys = await Promise.all(Keys!.map(async ({ KeyId }) => ({
    metadata: (await kms.send(new DescribeKeyCommand({ KeyId }))).KeyMetadata,
    policy: (await kms.send(new GetKeyPolicyCommand({ KeyId }))).Policy,
    tags: (await kms.send(new ListResourceTagsCommand({ KeyId }))).Tags,
    grants: (await kms.send(new ListGrantsCommand({ KeyId }))).Grants,
  })));
  return { keys, aliases: (await kms.send(new ListAliasesCommand({ Limit: 100 }))).Aliases };
}

it('loses nothing that was answered when it is killed in the middle of writes, again and again', async () => {
  const dataDir = join(scratch, 'killed');
  const answered: Array<{ KeyId: string; blob: Uint8Array; tag: number; disabled: boolean }> = [];
  for (let round = 0; round < 4; round += 1) {
    const server = await start(dataDir);
    const kms = clientAt(server.url);
    let dead = false;
    const writers = Array.from({ length: 4 }, async (_, writer) => {
      for (let count = 0; !dead; count += 1) {
        const KeyId = (await kms.send(new CreateKeyCommand({}))).KeyMetadata!.KeyId!;
        const entry = { KeyId, blob: (await kms.send(new EncryptCommand({ KeyId, Plaintext: Buffer.from(KeyId) }))).CiphertextBlob!, tag: -1, disabled: false };
        answered.push(entry);
        await kms.send(new TagResourceCommand({ KeyId, Tags: [{ TagKey: 'count', TagValue: String(count) }] }));
        entry.tag = count;
        if (writer % 2 === 0) {
          await kms.send(new DisableKeyCommand({ KeyId }));
          entry.disabled = true;
        }
      }
    });
    // enough answered, however slow the machine, then some moment in the middle of the next ones
    const before = answered.length;
    while (answered.length < before + 6) await new Promise((resolve) => setTimeout(resolve, 5));
    await new Promise((resolve) => setTimeout(resolve, 37 * round));
    const killed = kill(server);
    await killed;
    dead = true;
    await Promise.allSettled(writers);
    kms.destroy();
  }
  expect(answered.length).toBeGreaterThan(20);

  const server = await start(dataDir);
  const kms = clientAt(server.url);
  for (const { KeyId, blob, tag, disabled } of answered) {
    const { KeyMetadata } = await kms.send(new DescribeKeyCommand({ KeyId }));
    // a disable whose answer was lost may have happened; one that was answered must have
    if (disabled) expect(KeyMetadata!.KeyState).toBe('Disabled');
    if (tag >= 0) expect((await kms.send(new ListResourceTagsCommand({ KeyId }))).Tags).toEqual([{ TagKey: 'count', TagValue: String(tag) }]);
    await kms.send(new EnableKeyCommand({ KeyId }));
    expect(Buffer.from((await kms.send(new DecryptCommand({ CiphertextBlob: blob }))).Plaintext!).toString()).toBe(KeyId);
  }
  kms.destroy();
  await kill(server);
});

it('is the same after a kill: keys, policies, tags, grants, aliases, clock and callers', async () => {
  const dataDir = join(scratch, 'same');
  let server = await start(dataDir);
  let kms = clientAt(server.url);
  for (let count = 0; count < 5; count += 1) {
    const KeyId = (await kms.send(new CreateKeyCommand({ MultiRegion: count % 2 === 0, Description: `key ${count}` }))).KeyMetadata!.KeyId!;
    await kms.send(new CreateAliasCommand({ AliasName: `alias/key/${count}`, TargetKeyId: KeyId }));
    await kms.send(new CreateGrantCommand({ KeyId, GranteePrincipal: role('r'), Operations: ['Decrypt'] }));
  }
  await new LocalKmsAdmin(server.url).setClock('2035-05-05T00:00:00Z');
  await new LocalKmsAdmin(server.url).addPrincipal('AKIALATE', { arn: role('late') });
  const before = await everything(kms);
  kms.destroy();
  await kill(server);

  server = await start(dataDir);
  kms = clientAt(server.url);
  expect(await everything(kms)).toEqual(before);
  expect((await new LocalKmsAdmin(server.url).clock()).getUTCFullYear()).toBe(2035);
  const late = clientAt(server.url, EAST, 'AKIALATE');
  await expect(late.send(new ListKeysCommand({}))).rejects.toMatchObject({ name: 'AccessDeniedException' });
  late.destroy();
  kms.destroy();
  await kill(server);
});

describe('the log', () => {
  const put = (store: Store, id: string, offset: number) => store.commit([['clock', id, { offset }]]);

  it('drops a last record that was cut short, at every length, and goes on after it', async () => {
    const directory = join(scratch, 'torn');
    const log = join(directory, 'changes.log');
    const store = new Store(directory);
    put(store, 'a', 1);
    await store.durable();
    const whole = readFileSync(log);
    put(store, 'b', 2);
    await store.close();
    const both = readFileSync(log);
    for (let length = whole.length; length < both.length; length += 7) {
      writeFileSync(log, both.subarray(0, length));
      const torn = new Store(directory);
      expect(torn.get('clock', 'a')).toEqual({ offset: 1 });
      expect(torn.get('clock', 'b')).toBeUndefined();
      put(torn, 'c', length);
      await torn.close();
      const again = new Store(directory);
      expect(again.get('clock', 'c')).toEqual({ offset: length });
      await again.close();
    }
  });

  it('is not read past damage in its middle', async () => {
    const directory = join(scratch, 'damaged');
    const store = new Store(directory);
    for (const id of ['a', 'b', 'c']) put(store, id, 1);
    await store.close();
    const bytes = readFileSync(join(directory, 'changes.log'));
    bytes[30]! ^= 1;
    writeFileSync(join(directory, 'changes.log'), bytes);
    expect(() => new Store(directory)).toThrow(/damaged at byte 0/);
  });

  it('becomes a snapshot when it is long, and a stale log beside its own snapshot changes nothing', async () => {
    const directory = join(scratch, 'snapshot');
    const log = join(directory, 'changes.log');
    const store = new Store(directory, 2000);
    let count = 0;
    while (count === 0 || statSync(log).size <= 2000) put(store, `id${(count += 1) % 10}`, count);
    const stale = readFileSync(log);
    await store.durable();
    await store.close();
    expect(statSync(log).size).toBe(0);
    const values = (from: Store) => Array.from({ length: 10 }, (_, index) => from.get('clock', `id${index}`));
    const expected = values(store);
    // as if the machine had stopped between the snapshot's rename and the log's truncation
    for (const bytes of [Buffer.alloc(0), stale]) {
      writeFileSync(log, bytes);
      const again = new Store(directory, 2000);
      expect(values(again)).toEqual(expected);
      put(again, 'more', 1);
      await again.close();
    }
  });

  it('is not written by cryptographic operations or reads', async () => {
    const dataDir = join(scratch, 'quiet');
    const server = await startLocalKms({ dataDir, quotas: 'off', principals: PRINCIPALS });
    const kms = clientAt(server.url);
    const KeyId = (await kms.send(new CreateKeyCommand({}))).KeyMetadata!.KeyId!;
    const size = statSync(join(dataDir, 'changes.log')).size;
    const { CiphertextBlob } = await kms.send(new EncryptCommand({ KeyId, Plaintext: Buffer.from('p') }));
    await kms.send(new DecryptCommand({ CiphertextBlob }));
    await kms.send(new DescribeKeyCommand({ KeyId }));
    expect(statSync(join(dataDir, 'changes.log')).size).toBe(size);
    kms.destroy();
    await server.stop();
  });
});

it('lets one server at a time have the directory', async () => {
  const dataDir = join(scratch, 'one');
  const server = await startLocalKms({ dataDir });
  await expect(startLocalKms({ dataDir })).rejects.toThrow(/in use/);
  await server.stop();
  await (await startLocalKms({ dataDir })).stop();
});

it('keeps the record of changes in a file where so asked', async () => {
  const dataDir = join(scratch, 'events');
  const server = await startLocalKms({ dataDir, quotas: 'off', principals: PRINCIPALS, eventsFile: true });
  const kms = clientAt(server.url);
  const KeyId = (await kms.send(new CreateKeyCommand({}))).KeyMetadata!.KeyId!;
  await kms.send(new EncryptCommand({ KeyId, Plaintext: Buffer.from('p') }));
  await kms.send(new DisableKeyCommand({ KeyId }));
  const events = readFileSync(join(dataDir, 'events.ndjson'), 'utf8').trim().split('\n').map((line) => JSON.parse(line) as { operation: string });
  expect(events.map(({ operation }) => operation)).toEqual(['CreateKey', 'DisableKey']);
  kms.destroy();
  await server.stop();
});
