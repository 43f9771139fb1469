import { lease, slower, type Bucket } from '../../domain/pacing';
import { dueOf, type Materials } from '../../domain/rotation';
import { packValue, unpackValue } from '../../domain/columnKey';

describe('the shared rate', () => {
  it('gives away no more than the rate, whoever asks how often', () => {
    let bucket: Bucket | undefined;
    let last = -Infinity;
    for (let now = 1_000_000; now < 1_010_000; now += 37) {
      const given = lease(bucket, { count: 30, perSecond: 500 }, now);
      bucket = given.bucket;
      expect(given.result.every).toBe(2);
      expect(now + given.result.startsIn).toBeGreaterThanOrEqual(last);
      last = now + given.result.startsIn + 30 * given.result.every;
    }
  });

  it('forgets what was not used long ago, and survives a clock that is set back', () => {
    const { bucket } = lease(undefined, { count: 10, perSecond: 10 }, 1_000_000);
    expect(lease(bucket, { count: 1, perSecond: 10 }, 2_000_000).result.startsIn).toBe(-250);
    expect(lease(bucket, { count: 1, perSecond: 10 }, 0).result.startsIn).toBeLessThanOrEqual(60_000);
  });

  it('falls by half when KMS throttles, once for many refusals of one moment, and recovers', () => {
    let bucket = slower(undefined, 1_000_000).bucket;
    for (let i = 0; i < 50; i++) bucket = slower(bucket, 1_000_000 + i).bucket;
    const perSecond = (now: number): number => 1_000 / lease(bucket, { count: 1, perSecond: 1_000 }, now).result.every;
    expect(perSecond(1_000_000)).toBeCloseTo(500);
    expect(perSecond(1_010_000)).toBeCloseTo(750);
    expect(perSecond(1_030_000)).toBeCloseTo(1_000);
    for (let i = 1; i < 50; i++) bucket = slower(bucket, 1_000_000 + i * 600).bucket;
    expect(perSecond(1_000_000 + 50 * 600)).toBeGreaterThan(30);
  });
});

describe('what is due', () => {
  const DAY = 86_400_000;
  const now = Date.UTC(2026, 10, 24);
  const m = (days: number, more: Partial<Materials> = {}): Materials => ({ current: 'b', known: ['a', 'b'], since: now - days * DAY, onDemand: 0, rotating: false, ...more });

  it.each([
    ['nothing is', m(10), 0, 'nothing', false],
    ['a re-wrap, where KMS has rotated by itself', m(0.5), 5, 're-wrap', false],
    ['a re-wrap that is late', m(2), 5, 're-wrap', true],
    ['new material on its day', m(90), 0, 'material', false],
    ['new material that is late', m(91.5), 0, 'material', true],
    ['nothing yet, where KMS rotates by itself within the day', m(90, { next: now + 3_600_000 }), 0, 'nothing', false],
    ['new material, where KMS has not rotated by itself on its day', m(91.5, { next: now - 3_600_000 }), 0, 'material', true],
  ])('%s', (_what, materials, stale, needs, overdue) => {
    expect(dueOf(materials, stale, 90, now)).toMatchObject({ needs, overdue });
  });
});

describe('the envelope of a CEK value', () => {
  const value = { provider: 'AWS_KMS', keyArn: 'arn:aws:kms:eu-west-1:111122223333:key/mrk-1', keyMaterialId: 'ab'.repeat(32), ciphertext: Uint8Array.from([1, 2, 3]) };

  it('is as documented, byte by byte, and reads back', () => {
    const bytes = Buffer.from(packValue(value));
    expect(bytes.toString('hex')).toBe(`4b570107${Buffer.from('AWS_KMS').toString('hex')}002c${Buffer.from(value.keyArn).toString('hex')}${'ab'.repeat(32)}0003010203`);
    expect(unpackValue(bytes)).toEqual(value);
    const { keyMaterialId: _unknown, ...unknown } = value;
    expect(unpackValue(packValue(unknown))).toEqual(unknown);
  });

  it('is refused when cut anywhere, when something follows, and when it is Microsoft\'s', () => {
    const bytes = packValue(value);
    for (let n = 0; n < bytes.length; n++) expect(() => unpackValue(bytes.subarray(0, n))).toThrow(/KW-WRAPPED-KEY/);
    expect(() => unpackValue(Buffer.concat([bytes, Buffer.from([0])]))).toThrow(/KW-WRAPPED-KEY/);
    expect(() => unpackValue(Buffer.from([1, ...bytes]))).toThrow(/KW-WRAPPED-KEY/);
  });
});
