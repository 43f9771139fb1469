/** Input fields that many operations share, with the bounds of the API model. */
import { blob, flag, integer, list, required, structure, text, textMap, type Field } from './validate';

export const keyId = required(text(1, 2048));
export const optionalKeyId = text(1, 2048);
export const aliasName = required(text(1, 256));
export const description = text(0, 8192);
export const policy = text(1, 131_072);
export const encryptionContext = textMap();
export const grantTokens = list(text(1, 8192) as Field<string>, 0, 10);
export const dryRunFlag = flag();
export const plaintext = required(blob(1, 4096));
export const ciphertext = blob(1, 6144);
export const message = required(blob(1, 4096));
export const marker = text(1, 1024);
export const limit = (max: number) => integer(1, max);
export const tags = list(required(structure({ TagKey: required(text(1, 128)), TagValue: required(text(0, 256)) })));
export const region = required(text(1, 32, /^([a-z]+-){2,3}\d+$/));
