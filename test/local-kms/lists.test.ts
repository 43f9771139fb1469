/** Lists come in pages that neither repeat nor leave out; aliases and tags behave as labels. */
import {
  CreateAliasCommand, CreateKeyCommand, DescribeKeyCommand, ListAliasesCommand, ListKeysCommand, ListResourceTagsCommand, TagResourceCommand, UntagResourceCommand, UpdateAliasCommand, paginateListKeys,
  type KMSClient,
} from '@aws-sdk/client-kms';
import { errorOf, startFixture, type Fixture } from './fixture';

let fixture: Fixture;
let kms: KMSClient;
beforeAll(async () => {
  fixture = await startFixture();
  kms = fixture.client();
});
afterAll(() => fixture.stop());
const newKey = async () => (await kms.send(new CreateKeyCommand({}))).KeyMetadata!.KeyId!;

it('pages through keys, also while new ones appear', async () => {
  const made = new Set<string>();
  for (let count = 0; count < 7; count += 1) made.add(await newKey());
  const seen: string[] = [];
  for await (const { Keys } of paginateListKeys({ client: kms, pageSize: 3 }, {})) {
    seen.push(...Keys!.map(({ KeyId }) => KeyId!));
    if (seen.length === 3) await newKey();
  }
  expect(new Set(seen).size).toBe(seen.length);
  for (const KeyId of made) expect(seen).toContain(KeyId);
});

it('says whether there is more', async () => {
  const first = await kms.send(new ListKeysCommand({ Limit: 1 }));
  expect(first).toMatchObject({ Truncated: true, NextMarker: expect.any(String) });
  expect(await kms.send(new ListKeysCommand({ Limit: 1000 }))).toMatchObject({ Truncated: false });
  expect((await errorOf(kms.send(new ListKeysCommand({ Limit: 1001 })))).name).toBe('ValidationException');
});

it('moves an alias to another key of its kind and lists it there', async () => {
  const [one, two] = [await newKey(), await newKey()];
  await kms.send(new CreateAliasCommand({ AliasName: 'alias/application/production/tde', TargetKeyId: one }));
  expect((await kms.send(new DescribeKeyCommand({ KeyId: 'alias/application/production/tde' }))).KeyMetadata!.KeyId).toBe(one);
  await kms.send(new UpdateAliasCommand({ AliasName: 'alias/application/production/tde', TargetKeyId: two }));
  expect((await kms.send(new ListAliasesCommand({ KeyId: one }))).Aliases).toEqual([]);
  expect((await kms.send(new ListAliasesCommand({ KeyId: two }))).Aliases).toMatchObject([{ AliasName: 'alias/application/production/tde', TargetKeyId: two }]);
});

it('holds at most 50 aliases on one key', async () => {
  const KeyId = await newKey();
  for (let count = 0; count < 50; count += 1) await kms.send(new CreateAliasCommand({ AliasName: `alias/many-${count}`, TargetKeyId: KeyId }));
  expect((await errorOf(kms.send(new CreateAliasCommand({ AliasName: 'alias/many-50', TargetKeyId: KeyId })))).name).toBe('LimitExceededException');
});

it('overwrites, adds and removes tags', async () => {
  const KeyId = await newKey();
  const tag = (TagKey: string, TagValue: string) => ({ TagKey, TagValue });
  await kms.send(new TagResourceCommand({ KeyId, Tags: [tag('tag1', 'value1'), tag('tag2', 'value2')] }));
  await kms.send(new TagResourceCommand({ KeyId, Tags: [tag('tag2', 'updated_value2'), tag('tag3', 'value3')] }));
  expect((await kms.send(new ListResourceTagsCommand({ KeyId }))).Tags).toEqual([tag('tag1', 'value1'), tag('tag2', 'updated_value2'), tag('tag3', 'value3')]);
  await kms.send(new UntagResourceCommand({ KeyId, TagKeys: ['tag1', 'tag2', 'tag3'] }));
  expect((await kms.send(new ListResourceTagsCommand({ KeyId }))).Tags).toEqual([]);
});
