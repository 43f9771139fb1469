/**
 * Input shapes: a handler receives its input decoded (blobs as Buffers) and within the model's bounds.
 * Errors: ValidationException in the service's own words, SerializationException for a wrong JSON type.
 */
import { serialization, validation } from './errors';

type Read<T> = (value: unknown, path: string, faults: string[]) => T;
export interface Field<T> { readonly read: Read<T>; readonly required?: boolean }
export type Shape = Record<string, Field<any>>;
export type InputOf<S extends Shape> = { [K in keyof S]: S[K] extends Field<infer T> ? T : never };

const wrongType = (path: string, expected: string): never => {
  throw serialization(`Field '${path}' is not ${expected}`);
};

const member = (value: string, path: string, rule: string): string =>
  `Value${value} at '${path}' failed to satisfy constraint: Member must ${rule}`;

const checkLength = (length: number, shown: string, path: string, min: number, max: number, faults: string[]): void => {
  if (length < min) faults.push(member(shown, path, `have length greater than or equal to ${min}`));
  if (length > max) faults.push(member(shown, path, `have length less than or equal to ${max}`));
};

const optional = <T>(read: Read<T>): Field<T | undefined> => ({
  read: (value, path, faults) => (value === undefined || value === null ? undefined : read(value, path, faults)),
});

/** The same field, refused when it is absent. */
export const required = <T>(field: Field<T | undefined>): Field<T> => ({
  required: true,
  read: (value, path, faults) => {
    if (value === undefined || value === null) faults.push(member(' null', path, 'not be null'));
    return field.read(value, path, faults) as T;
  },
});

export const text = (min: number, max: number, pattern?: RegExp): Field<string | undefined> => optional((value, path, faults) => {
  if (typeof value !== 'string') return wrongType(path, 'a string');
  checkLength(value.length, ` '${value}'`, path, min, max, faults);
  if (pattern !== undefined && !pattern.test(value)) faults.push(member(` '${value}'`, path, `satisfy regular expression pattern: ${pattern.source}`));
  return value;
});

export const oneOf = <T extends string>(values: readonly T[]): Field<T | undefined> => optional((value, path, faults) => {
  if (typeof value !== 'string') return wrongType(path, 'a string');
  if (!values.includes(value as T)) faults.push(member(` '${value}'`, path, `satisfy enum value set: [${values.join(', ')}]`));
  return value as T;
});

/** Base64 on the wire, at most `max` bytes decoded. The value is never repeated in the message. */
export const blob = (min: number, max: number): Field<Buffer | undefined> => optional((value, path, faults) => {
  if (typeof value !== 'string') return wrongType(path, 'a base64 string');
  const bytes = Buffer.from(value, 'base64');
  checkLength(bytes.length, '', path, min, max, faults);
  return bytes;
});

export const integer = (min: number, max: number): Field<number | undefined> => optional((value, path, faults) => {
  if (typeof value !== 'number' || !Number.isInteger(value)) return wrongType(path, 'an integer');
  if (value < min) faults.push(member(` '${value}'`, path, `have value greater than or equal to ${min}`));
  if (value > max) faults.push(member(` '${value}'`, path, `have value less than or equal to ${max}`));
  return value;
});

export const flag = (): Field<boolean | undefined> => optional((value, path) => (typeof value === 'boolean' ? value : wrongType(path, 'a boolean')));

export const instant = (): Field<number | undefined> => optional((value, path) => (typeof value === 'number' ? value * 1000 : wrongType(path, 'a timestamp')));

export const list = <T>(field: Field<T>, min = 0, max = Infinity): Field<T[] | undefined> => optional((value, path, faults) => {
  if (!Array.isArray(value)) return wrongType(path, 'a list');
  checkLength(value.length, '', path, min, max, faults);
  return value.map((entry, index) => field.read(entry, `${path}.${index + 1}.member`, faults));
});

export const textMap = (): Field<Record<string, string> | undefined> => optional((value, path) => {
  if (typeof value !== 'object' || Array.isArray(value)) return wrongType(path, 'a map');
  const entries = Object.entries(value as object);
  if (entries.some(([, entry]) => typeof entry !== 'string')) return wrongType(path, 'a map of strings');
  return value as Record<string, string>;
});

export const structure = <S extends Shape>(shape: S): Field<InputOf<S> | undefined> => optional((value, path, faults) => {
  if (typeof value !== 'object' || Array.isArray(value)) return wrongType(path, 'a structure');
  return readShape(shape, value as Record<string, unknown>, `${path}.`, faults);
});

const memberName = (name: string): string => name.charAt(0).toLowerCase() + name.slice(1);

function readShape<S extends Shape>(shape: S, value: Record<string, unknown>, prefix: string, faults: string[]): InputOf<S> {
  const result: Record<string, unknown> = {};
  for (const name in shape) result[name] = shape[name]!.read(value[name], prefix + memberName(name), faults);
  return result as InputOf<S>;
}

export function readInput<S extends Shape>(shape: S, body: Record<string, unknown>): InputOf<S> {
  const faults: string[] = [];
  const input = readShape(shape, body, '', faults);
  if (faults.length > 0) throw validation(`${faults.length} validation error${faults.length > 1 ? 's' : ''} detected: ${faults.join('; ')}`);
  return input;
}
