/** Signing what the caller hashed already (MessageType DIGEST), for RSA. Source: RFC 8017, sections 8 and 9. */
import { constants, createHash, privateEncrypt, publicDecrypt, randomBytes, timingSafeEqual, type KeyObject } from 'node:crypto';
import { unsupported } from './errors';

/** DER of DigestInfo up to the hash itself, by hash length in bytes. */
const DIGEST_INFO: Record<number, Buffer> = {
  32: Buffer.from('3031300d060960864801650304020105000420', 'hex'),
  48: Buffer.from('3041300d060960864801650304020205000430', 'hex'),
  64: Buffer.from('3051300d060960864801650304020305000440', 'hex'),
};
const hashName = (digest: Buffer): string => `sha${digest.length * 8}`;
const modulusBits = (key: KeyObject): number => key.asymmetricKeyDetails!.modulusLength!;

/** node:crypto signs messages, not digests, with ECDSA; rather refuse than sign the hash of a hash. */
const checkRsa = (algorithm: string): void => {
  if (algorithm.startsWith('ECDSA')) throw unsupported('The local KMS signs and verifies with ECDSA only what is sent as MessageType RAW');
};

export function signDigest(key: KeyObject, algorithm: string, digest: Buffer): Buffer {
  checkRsa(algorithm);
  if (!algorithm.startsWith('RSASSA_PSS')) return privateEncrypt({ key, padding: constants.RSA_PKCS1_PADDING }, Buffer.concat([DIGEST_INFO[digest.length]!, digest]));
  return privateEncrypt({ key, padding: constants.RSA_NO_PADDING }, pssEncode(digest, modulusBits(key)));
}

export function verifyDigest(key: KeyObject, algorithm: string, digest: Buffer, signature: Buffer): boolean {
  checkRsa(algorithm);
  try {
    if (algorithm.startsWith('RSASSA_PSS')) return pssVerify(digest, publicDecrypt({ key, padding: constants.RSA_NO_PADDING }, signature));
    const info = publicDecrypt({ key, padding: constants.RSA_PKCS1_PADDING }, signature);
    const expected = Buffer.concat([DIGEST_INFO[digest.length]!, digest]);
    return info.length === expected.length && timingSafeEqual(info, expected);
  } catch {
    return false;
  }
}

function mask(seed: Buffer, length: number, hash: string): Buffer {
  const blocks: Buffer[] = [];
  for (let counter = 0; blocks.length * createHash(hash).digest().length < length; counter += 1) {
    const index = Buffer.alloc(4);
    index.writeUInt32BE(counter);
    blocks.push(createHash(hash).update(seed).update(index).digest());
  }
  return Buffer.concat(blocks).subarray(0, length);
}

const xor = (a: Buffer, b: Buffer): Buffer => Buffer.from(a.map((byte, index) => byte ^ b[index]!));
const saltedHash = (digest: Buffer, salt: Buffer): Buffer => createHash(hashName(digest)).update(Buffer.alloc(8)).update(digest).update(salt).digest();

/** EMSA-PSS with a salt as long as the hash. Moduli are whole bytes, so one top bit is cleared. */
function pssEncode(digest: Buffer, bits: number): Buffer {
  const salt = randomBytes(digest.length);
  const hash = saltedHash(digest, salt);
  const data = Buffer.alloc(bits / 8 - digest.length - 1);
  data[data.length - salt.length - 1] = 1;
  salt.copy(data, data.length - salt.length);
  const masked = xor(data, mask(hash, data.length, hashName(digest)));
  masked[0]! &= 0x7f;
  return Buffer.concat([masked, hash, Buffer.from([0xbc])]);
}

function pssVerify(digest: Buffer, encoded: Buffer): boolean {
  const hash = encoded.subarray(encoded.length - digest.length - 1, encoded.length - 1);
  const masked = encoded.subarray(0, encoded.length - digest.length - 1);
  if (encoded.at(-1) !== 0xbc || (masked[0]! & 0x80) !== 0) return false;
  const data = xor(masked, mask(hash, masked.length, hashName(digest)));
  data[0]! &= 0x7f;
  const saltAt = data.length - digest.length;
  if (data[saltAt - 1] !== 1 || data.subarray(0, saltAt - 1).some((byte) => byte !== 0)) return false;
  return timingSafeEqual(hash, saltedHash(digest, data.subarray(saltAt)));
}
