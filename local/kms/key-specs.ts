/** Key specs: what each can do and how long its plaintext may be. Source: KMS API model, CreateKey and Encrypt. */
export interface KeySpecification {
  readonly family: 'symmetric' | 'rsa' | 'ecc' | 'hmac';
  readonly usages: readonly string[];
  readonly encryption: readonly string[];
  readonly signing: readonly string[];
  readonly mac: readonly string[];
  /** RSA modulus bits, HMAC key bytes, or undefined. */
  readonly size?: number;
  /** Node's name of the curve. */
  readonly curve?: string;
}

const none: readonly string[] = [];
const RSA_SIGNING = ['RSASSA_PKCS1_V1_5_SHA_256', 'RSASSA_PKCS1_V1_5_SHA_384', 'RSASSA_PKCS1_V1_5_SHA_512', 'RSASSA_PSS_SHA_256', 'RSASSA_PSS_SHA_384', 'RSASSA_PSS_SHA_512'];

const rsa = (size: number): KeySpecification =>
  ({ family: 'rsa', usages: ['ENCRYPT_DECRYPT', 'SIGN_VERIFY'], encryption: ['RSAES_OAEP_SHA_1', 'RSAES_OAEP_SHA_256'], signing: RSA_SIGNING, mac: none, size });
const ecc = (curve: string, algorithm: string): KeySpecification =>
  ({ family: 'ecc', usages: ['SIGN_VERIFY'], encryption: none, signing: [algorithm], mac: none, curve });
const hmac = (bits: number, size: number): KeySpecification =>
  ({ family: 'hmac', usages: ['GENERATE_VERIFY_MAC'], encryption: none, signing: none, mac: [`HMAC_SHA_${bits}`], size });

export const KEY_SPECS: Readonly<Record<string, KeySpecification>> = {
  SYMMETRIC_DEFAULT: { family: 'symmetric', usages: ['ENCRYPT_DECRYPT'], encryption: ['SYMMETRIC_DEFAULT'], signing: none, mac: none, size: 32 },
  RSA_2048: rsa(2048),
  RSA_3072: rsa(3072),
  RSA_4096: rsa(4096),
  ECC_NIST_P256: ecc('prime256v1', 'ECDSA_SHA_256'),
  ECC_NIST_P384: ecc('secp384r1', 'ECDSA_SHA_384'),
  ECC_NIST_P521: ecc('secp521r1', 'ECDSA_SHA_512'),
  ECC_SECG_P256K1: ecc('secp256k1', 'ECDSA_SHA_256'),
  HMAC_224: hmac(224, 28),
  HMAC_256: hmac(256, 32),
  HMAC_384: hmac(384, 48),
  HMAC_512: hmac(512, 64),
};

export const ENCRYPTION_ALGORITHMS = ['SYMMETRIC_DEFAULT', 'RSAES_OAEP_SHA_1', 'RSAES_OAEP_SHA_256'] as const;
export const SIGNING_ALGORITHMS = [...RSA_SIGNING, 'ECDSA_SHA_256', 'ECDSA_SHA_384', 'ECDSA_SHA_512'];
export const MAC_ALGORITHMS = ['HMAC_SHA_224', 'HMAC_SHA_256', 'HMAC_SHA_384', 'HMAC_SHA_512'];

export const specificationOf = (keySpec: string): KeySpecification => {
  const specification = KEY_SPECS[keySpec];
  if (specification === undefined) throw new Error(`unknown key spec ${keySpec}`);
  return specification;
};
