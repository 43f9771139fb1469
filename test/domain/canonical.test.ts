import { canonicalJson, firstDifference } from '../../domain/canonical';
import { digest, policyDigest } from '../../domain/digest';
import { randomJson, seeded, shuffled } from './random';

describe('canonical JSON (RFC 8785 for what is signed)', () => {
  it.each<[string, unknown, string]>([
    ['sorts names', { b: 1, a: 2 }, '{"a":2,"b":1}'],
    ['sorts by UTF-16 code units, as RFC 8785 says', { '\u20ac': 1, '\r': 2, '\ufb33': 3, '1': 4, '\ud83d\ude00': 5, '\u0080': 6, '\u00f6': 7 }, '{"\\r":2,"1":4,"\u0080":6,"\u00f6":7,"\u20ac":1,"\ud83d\ude00":5,"\ufb33":3}'],
    ['sorts in every depth, and leaves the order of arrays', [{ z: [3, 1, 2], a: { d: 1, c: 2 } }], '[{"a":{"c":2,"d":1},"z":[3,1,2]}]'],
    ['leaves out what is undefined', { a: undefined, b: null }, '{"b":null}'],
    ['escapes what JSON escapes', '\u0000\b"\\\u2028/', '"\\u0000\\b\\"\\\\\u2028/"'],
    ['escapes lone surrogates', '\ud800', '"\\ud800"'],
    ['has one zero', -0, '0'],
    ['takes the largest safe integer', Number.MAX_SAFE_INTEGER, '9007199254740991'],
    ['takes a name that is a prototype', JSON.parse('{"__proto__":1,"constructor":2}'), '{"__proto__":1,"constructor":2}'],
    ['empty things', { a: {}, b: [], c: '' }, '{"a":{},"b":[],"c":""}'],
  ])('%s', (_name, value, expected) => {
    expect(canonicalJson(value)).toBe(expected);
    expect(JSON.parse(expected)).toEqual(JSON.parse(JSON.stringify(value)));
  });

  it.each<[string, unknown]>([['a fraction', 0.1], ['NaN', NaN], ['infinity', Infinity], ['an unsafe integer', 2 ** 53], ['a bigint', 1n], ['a function', () => 1], ['a symbol', Symbol('x')], ['undefined itself', undefined], ['undefined in an array', [undefined]], ['a fraction far down', { a: [{ b: 1e-7 }] }]])('refuses %s', (_name, value) => {
    expect(() => canonicalJson(value)).toThrow(TypeError);
  });

  it('is the same for every order of names, and its own canonical form (400 random values)', () => {
    const random = seeded(1);
    for (let i = 0; i < 400; i++) {
      const value = randomJson(random, 4);
      const text = canonicalJson(value);
      expect(canonicalJson(shuffled(random, value))).toBe(text);
      expect(canonicalJson(JSON.parse(text))).toBe(text);
      expect(digest(shuffled(random, value))).toBe(digest(value));
    }
  });

  it('two values have one digest exactly where they have no difference (400 random pairs)', () => {
    const random = seeded(2);
    for (let i = 0; i < 400; i++) {
      const [a, b] = [randomJson(random, 3), randomJson(random, 3)];
      expect(firstDifference(a, b) === undefined).toBe(canonicalJson(a) === canonicalJson(b));
    }
  });
});

describe('the first difference, as a person is told it', () => {
  it.each<[unknown, unknown, string | undefined]>([
    [{ a: { b: 1, c: 2 } }, { a: { b: 1, c: 3 } }, 'a.c'],
    [{ a: 1 }, { a: 1, z: 0 }, 'z'],
    [{ a: 1, z: 0 }, { a: 1 }, 'z'],
    [{ a: [1, 2] }, { a: [2, 1] }, 'a'],
    [{ a: undefined }, {}, undefined],
    [{ a: 1 }, { a: '1' }, 'a'],
    [{ a: {} }, { a: [] }, 'a'],
    [{ a: null }, {}, 'a'],
  ])('%j and %j: %s', (a, b, path) => expect(firstDifference(a, b)).toBe(path));
});

describe('digests', () => {
  it('are the SHA-256 of the canonical form', () => expect(digest({})).toBe('sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a'));
  it("of a policy don't depend on white space or order of names, but on order of statements and on every value", () => {
    const policy = '{"Version":"2012-10-17","Statement":[{"Sid":"A","Effect":"Allow"},{"Sid":"B","Effect":"Deny"}]}';
    expect(policyDigest('{ "Statement" : [ {"Effect":"Allow","Sid":"A"},\n{"Sid":"B","Effect":"Deny"}], "Version":"2012-10-17" }')).toBe(policyDigest(policy));
    expect(policyDigest(policy.replace('Deny', 'Allow'))).not.toBe(policyDigest(policy));
    expect(policyDigest('{"Version":"2012-10-17","Statement":[{"Sid":"B","Effect":"Deny"},{"Sid":"A","Effect":"Allow"}]}')).not.toBe(policyDigest(policy));
  });
});
