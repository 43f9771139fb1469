/** TagResource, UntagResource, ListResourceTags, and the rules that CreateKey and ReplicateKey share. */
import { authorize } from './authorization';
import { operation } from './call';
import { tagFault } from './errors';
import * as fields from './fields';
import { checkState } from './key-state';
import { findKey } from './key-lookup';
import { regionalId, type Tag } from './model';
import { page, pageOutput } from './pages';
import { list, required, text, type Field } from './validate';

const TAGS_PER_KEY = 50;

export function checkTags(tags: readonly Tag[]): readonly Tag[] {
  if (tags.some(({ TagKey }) => TagKey.toLowerCase().startsWith('aws:'))) throw tagFault('Tags beginning with aws: are reserved');
  if (new Set(tags.map(({ TagKey }) => TagKey)).size < tags.length) throw tagFault('Duplicate tag keys');
  if (tags.length > TAGS_PER_KEY) throw tagFault('Too many tags');
  return tags;
}

/** Condition values for aws:RequestTag/<key> and aws:TagKeys. */
export const requestTagValues = (tags: readonly Tag[]): Record<string, readonly string[]> => ({
  ...Object.fromEntries(tags.map(({ TagKey, TagValue }) => [`aws:requesttag/${TagKey.toLowerCase()}`, [TagValue]])),
  ...(tags.length > 0 ? { 'aws:tagkeys': tags.map(({ TagKey }) => TagKey) } : {}),
});

export const tagOperations = [
  operation('TagResource', { KeyId: fields.keyId, Tags: required(fields.tags) }, (call, { KeyId, Tags }) => {
    checkTags(Tags);
    const key = findKey(call, KeyId);
    authorize(call, 'TagResource', key, { values: requestTagValues(Tags) });
    checkState(call, key);
    const merged = new Map(key.regional.tags.map((tag) => [tag.TagKey, tag]));
    for (const tag of Tags) merged.set(tag.TagKey, tag);
    const tags = checkTags([...merged.values()]);
    call.put('key', regionalId(call.region, key.shared.keyId), { ...key.regional, tags });
  }),

  operation('UntagResource', { KeyId: fields.keyId, TagKeys: required(list(text(1, 128) as Field<string>)) }, (call, { KeyId, TagKeys }) => {
    const key = findKey(call, KeyId);
    authorize(call, 'UntagResource', key, { values: { 'aws:tagkeys': TagKeys } });
    checkState(call, key);
    const tags = key.regional.tags.filter(({ TagKey }) => !TagKeys.includes(TagKey));
    call.put('key', regionalId(call.region, key.shared.keyId), { ...key.regional, tags });
  }),

  operation('ListResourceTags', { KeyId: fields.keyId, Limit: fields.limit(50), Marker: fields.marker }, (call, input) => {
    const key = findKey(call, input.KeyId);
    authorize(call, 'ListResourceTags', key);
    return pageOutput('Tags', page(key.regional.tags, ({ TagKey }) => TagKey, input, 50), (tag) => tag);
  }),
];
