import { createDecipheriv } from 'node:crypto';
import { checkForm, DataKey, OVERHEAD, type Owner } from '../../client/fieldFormat';
import { KeywardenError } from '../../domain/errors';
import { pick, seeded } from '../domain/random';

const owner: Owner = { application: 'buzztutor', environment: 'production', purpose: 'user-data', subjectId: 'ada' };
const bytes = (n: number): Uint8Array => Uint8Array.from({ length: 32 }, (_, i) => (i * 7 + n) % 256);
const key = (o: Partial<Owner> = {}, n = 1): DataKey => new DataKey(bytes(n), { ...owner, ...o });

function refusal(act: () => unknown): KeywardenError {
  try {
    act();
  } catch (error) {
    expect(error).toBeInstanceOf(KeywardenError);
    return error as KeywardenError;
  }
  throw new Error('not refused');
}

describe('an encrypted field', () => {
  it('is what docs/library.md says, byte by byte', () => {
    const message = key().seal('phone', Buffer.from('555-0142'));
    expect(message.length).toBe(40 + 8);
    expect([...message.subarray(0, 4)]).toEqual([0x4b, 0x57, 1, 1]);
    const lengths = ['buzztutor', 'production', 'user-data', 'ada', 'phone'].map((t) => Buffer.concat([Buffer.from([0, t.length]), Buffer.from(t)]));
    const decipher = createDecipheriv('aes-256-gcm', bytes(1), message.subarray(12, 24)).setAAD(Buffer.concat([message.subarray(0, 12), ...lengths])).setAuthTag(message.subarray(-16));
    expect(decipher.update(message.subarray(24, -16), undefined, 'utf8') + decipher.final('utf8')).toBe('555-0142');
  });

  it('comes back whole, whatever its length and its bytes', () => {
    const random = seeded(11);
    for (let i = 0; i < 300; i++) {
      const plain = Buffer.from(Array.from({ length: pick(random, [0, 1, 15, 16, 17, 255, 4_096]) }, () => Math.floor(random() * 256)));
      const k = key({}, i);
      const message = k.seal('phone', plain);
      checkForm(message);
      expect(message.length).toBe(plain.length + OVERHEAD);
      expect(k.open('phone', message).equals(plain)).toBe(true);
    }
  });

  it('never has the same IV twice', () => {
    const k = key();
    const seen = new Set(Array.from({ length: 20_000 }, () => k.seal('phone', Buffer.alloc(1)).toString('hex', 12, 24)));
    expect(seen.size).toBe(20_000);
  });
});

describe('tampering', () => {
  const message = key().seal('phone', Buffer.from('555-0142'));

  it('with any byte is refused: the first four as no field of ours, the rest as forged', () => {
    for (let at = 0; at < message.length; at++) {
      for (const bit of [1, 0x80]) {
        const changed = Buffer.from(message);
        changed[at]! ^= bit;
        const { code, message: says } = refusal(() => (checkForm(changed), key().open('phone', changed)));
        expect([at, code]).toEqual([at, at < 4 ? 'KW-FIELD-FORM' : 'KW-FIELD-FORGED']);
        expect(says).not.toContain('555');
      }
    }
  });

  it('with its length is refused', () => {
    const random = seeded(5);
    for (let i = 0; i < 200; i++) {
      const length = Math.floor(random() * message.length);
      const cut = random() < 0.5 ? message.subarray(0, length) : Buffer.concat([message, message.subarray(0, 1 + length)]);
      expect(refusal(() => (checkForm(cut), key().open('phone', cut))).code).toBe(cut.length < OVERHEAD ? 'KW-FIELD-FORM' : 'KW-FIELD-FORGED');
    }
    for (const nothing of [undefined, null, 'text', {}, Buffer.alloc(0)]) expect(refusal(() => checkForm(nothing as Uint8Array)).code).toBe('KW-FIELD-FORM');
  });

  it.each<[string, Partial<Owner>]>([['application', { application: 'other' }], ['environment', { environment: 'staging' }], ['purpose', { purpose: 'payment-data' }], ['subject', { subjectId: 'bob' }]])('with the %s is refused, under the very same key', (_what, change) => {
    expect(refusal(() => key(change).open('phone', message)).code).toBe('KW-FIELD-FORGED');
  });

  it('with the field is refused', () => {
    for (const field of ['phonE', 'phone.', 'p', 'hone']) expect(refusal(() => key().open(field, message)).code).toBe('KW-FIELD-FORGED');
  });

  it('by moving a border between two bound names is refused: each carries its length', () => {
    const moved = key({ purpose: 'user-dataa', subjectId: 'da' });
    expect(refusal(() => moved.open('phone', message)).code).toBe('KW-FIELD-FORGED');
  });

  it('with another data key is refused, and said', () => {
    expect(refusal(() => key({}, 2).open('phone', message)).what).toContain('another data key');
  });
});

describe('a data key that was dropped (rule 7)', () => {
  it('is zeroed, as are the bytes that it was made from, and is never used again', () => {
    const plaintext = bytes(1);
    const k = new DataKey(plaintext, owner);
    expect(plaintext.every((b) => b === 0)).toBe(true);
    const message = k.seal('phone', Buffer.from('x'));
    k.drop();
    expect((k as unknown as { key: Buffer }).key.equals(Buffer.alloc(32))).toBe(true);
    for (const act of [() => k.seal('phone', Buffer.from('x')), () => k.open('phone', message)]) expect(refusal(act).code).toBe('KW-BUG');
  });
});
