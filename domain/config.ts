import * as z from 'zod';
import { KeywardenError } from './errors';
import { PURPOSES, ROLES, type Role } from './names';
import { FLOORS, type QuorumName } from './quorum';

/** One configuration file for an application in an environment. Everything that workers trust stands here, in KMS or in the store; never in a workflow. */

const name = z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'lower-case letters, digits and dashes');

const localIdentity = z.strictObject({
  verifier: z.literal('local'),
  /** Ed25519 public key as a JWK (RFC 8037). */
  publicKey: z.strictObject({ kty: z.literal('OKP'), crv: z.literal('Ed25519'), x: z.string().regex(/^[A-Za-z0-9_-]{43}$/) }),
});

const person = z.strictObject({
  name,
  roles: z.array(z.enum(ROLES)).min(1),
  identities: z.array(localIdentity).min(1),
});

const quorum = z.strictObject(
  Object.fromEntries(
    (Object.keys(FLOORS) as QuorumName[]).map((q) => [
      q,
      z.int().min(FLOORS[q].needed, `at least ${FLOORS[q].needed} (dual control can be raised, never lowered)`).optional(),
    ]),
  ) as Record<QuorumName, z.ZodOptional<z.ZodInt>>,
);

export const configSchema = z.strictObject({
  application: name,
  environment: name,
  account: z.string().regex(/^\d{12}$/, 'twelve digits'),
  /** The first is the Region in which the primary keys are made. */
  regions: z.array(z.string().regex(/^[a-z]{2}(-[a-z]+)+-\d$/, 'an AWS Region')).min(1),
  purposes: z.array(name).min(1).default([...PURPOSES]),
  recovery: z
    .strictObject({
      /** Length of the recovery window in days; below 7 only in development on loopback. */
      windowDays: z.number().positive().max(30).default(7),
      reminderHours: z.array(z.number().positive()).default([72, 24, 2]),
      /** How long past a pre-empted procedure's activity time-out the disabled state must hold, in seconds; below 300 only in development. */
      holdSeconds: z.number().positive().default(300),
    })
    .prefault({}),
  /** How long a person's keys are withheld before they are deleted, in days; below 7 only in development. */
  erasure: z.strictObject({ waitDays: z.number().positive().max(90).default(7) }).prefault({}),
  rotation: z.strictObject({ periodDays: z.int().min(90).max(365).default(90) }).prefault({}),
  rewrap: z
    .strictObject({
      /** KMS's quota for symmetric requests of this account in the primary Region, a second. */
      requestsPerSecond: z.int().min(1).max(1_000_000).default(10_000),
      /** Share of it that is left to live traffic. */
      reservePercent: z.int().min(0).max(95).default(50),
      /** KMS calls under way at once, in one worker. */
      concurrency: z.int().min(1).max(256).default(32),
      /** Keys that one transaction writes. */
      pageKeys: z.int().min(1).max(2_000).default(500),
      /** Keys that one activity re-wraps, page by page. */
      stretchKeys: z.int().min(1).max(100_000).default(5_000),
      /** Such activities at once. */
      stretches: z.int().min(1).max(50).default(4),
    })
    .prefault({}),
  quorum: quorum.default({}),
  people: z.array(person).default([]),
  alerts: z.strictObject({ topicArn: z.string().regex(/^arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[\w.-]+$/, 'an SNS topic ARN') }),
  audit: z
    .strictObject({
      /** Folder for the journal; on a volume that no CMK of a plan encrypts. */
      journal: z.string().min(1),
      /** Purposes whose CMK encrypts the volume of the journal. Their revocation is refused: the journal would go with them. */
      journalEncryptedBy: z.array(name).default([]),
    })
    .optional(),
  /** Worker and application roles, by ARN; the shipped key policies are made from them. */
  roles: z
    .strictObject({
      routine: z.string().optional(),
      emergency: z.string().optional(),
      recovery: z.string().optional(),
      application: z.array(z.string()).optional(),
      operators: z.array(z.string()).optional(),
      emergencyAdmins: z.array(z.string()).optional(),
    })
    .prefault({}),
  /** Databases whose encryption rests on a purpose's CMK (TDE, storage). */
  databases: z.array(z.strictObject({ name: z.string().min(1), purpose: name })).default([]),
  backups: z.strictObject({ retentionDays: z.number().min(0).default(35) }).prefault({}),
});

export type Config = z.output<typeof configSchema>;
export type Person = Config['people'][number];
export type Identity = Person['identities'][number];

/** Checks a configuration; throws one `KW-CONFIG` that names each wrong field with its path. */
export function parseConfig(raw: unknown, where: { kmsEndpoint: string | undefined }): Config {
  const parsed = configSchema.safeParse(raw);
  if (!parsed.success) {
    throw refusal(parsed.error.issues.map((i) => `${i.path.join('.') || '(root)'}: ${i.message}`));
  }
  const config = parsed.data;
  const wrong = [...duplicates(config), ...developmentOnly(config, where.kmsEndpoint)];
  if (wrong.length > 0) throw refusal(wrong);
  return config;
}

function refusal(lines: string[]): KeywardenError {
  return new KeywardenError('KW-CONFIG', lines.join('; '), {
    notDone: 'nothing was started',
    next: 'correct the fields named here in the file that KEYWARDEN_CONFIG names',
  });
}

/** One identity under two names would be two signers (rule 4). */
function duplicates(config: Config): string[] {
  const wrong: string[] = [];
  const seenKeys = new Map<string, string>();
  const seenNames = new Set<string>();
  config.people.forEach((p, i) => {
    if (seenNames.has(p.name)) wrong.push(`people.${i}.name: ${p.name} is listed twice`);
    seenNames.add(p.name);
    p.identities.forEach((identity, j) => {
      const x = identity.publicKey.x;
      const owner = seenKeys.get(x);
      if (owner !== undefined) wrong.push(`people.${i}.identities.${j}: the same key is listed for ${owner}`);
      seenKeys.set(x, p.name);
    });
  });
  return wrong;
}

/** Development is a name *and* a loopback KMS; only then may windows be short and identities local. */
export function isDevelopment(config: Pick<Config, 'environment'>, kmsEndpoint: string | undefined): boolean {
  return config.environment === 'development' && isLoopback(kmsEndpoint);
}

export function isLoopback(endpoint: string | undefined): boolean {
  if (endpoint === undefined) return false;
  try {
    const host = new URL(endpoint).hostname;
    return host === 'localhost' || host === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(host);
  } catch {
    return false;
  }
}

function developmentOnly(config: Config, kmsEndpoint: string | undefined): string[] {
  if (isDevelopment(config, kmsEndpoint)) return [];
  const wrong: string[] = [];
  const why = 'only where environment is "development" and the KMS endpoint is a loopback address';
  if (config.environment === 'development') wrong.push(`environment: "development" is accepted ${why}`);
  if (config.recovery.windowDays < 7) wrong.push(`recovery.windowDays: below 7 is accepted ${why}`);
  if (config.recovery.holdSeconds < 300) wrong.push(`recovery.holdSeconds: below 300 is accepted ${why}`);
  if (config.erasure.waitDays < 7) wrong.push(`erasure.waitDays: below 7 is accepted ${why}`);
  config.people.forEach((p, i) =>
    p.identities.forEach((identity, j) => {
      if (identity.verifier === 'local') wrong.push(`people.${i}.identities.${j}.verifier: "local" is accepted ${why}`);
    }),
  );
  return wrong;
}

export function rolesOf(config: Config, person: string): Role[] {
  return config.people.find((p) => p.name === person)?.roles ?? [];
}
