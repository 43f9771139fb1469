import { join, resolve } from 'node:path';
import { lockHolder } from './folder-lock';
import { readJson } from './state-file';

/** What `keywarden dev --json` prints: fixed names. */
export interface DevReady {
  /** host:port */
  temporal: string;
  ui: string;
  kms: string;
  sns: string;
  /** `file:…` */
  database: string;
  temporalCli: string;
}

/** All that somebody who works with a running stack needs to know of it; kept in `stack.json`. */
export interface DevStackFacts extends DevReady {
  account: string;
  /** The first is the primary Region. */
  regions: string[];
  /** Topic name to ARN. */
  topicArns: Record<string, string>;
}

/** Where the parts of one data folder's state lie. */
export function devFiles(dataDir: string) {
  const in_ = (...names: string[]) => join(resolve(dataDir), ...names);
  return {
    lock: in_('dev.lock'),
    ports: in_('ports.json'),
    pids: in_('pids.json'),
    stack: in_('stack.json'),
    config: in_('keywarden.config.json'),
    database: `file:${in_('keywarden.db')}`,
    log: (part: string) => in_('logs', `${part}.log`),
  };
}

/** The environment in which workers, commands and applications reach the stack. */
export function devEnvironment(stack: DevStackFacts, dataDir: string): Record<string, string> {
  const files = devFiles(dataDir);
  return {
    TEMPORAL_ADDRESS: stack.temporal,
    TEMPORAL_NAMESPACE: 'default',
    AWS_ENDPOINT_URL_KMS: stack.kms,
    AWS_ENDPOINT_URL_SNS: stack.sns,
    AWS_REGION: stack.regions[0] ?? '',
    // else the SDK asks the machine's metadata service, which is not there, before it says that it has no credentials
    AWS_EC2_METADATA_DISABLED: 'true',
    KEYWARDEN_DATABASE_URL: stack.database,
    KEYWARDEN_CONFIG: files.config,
  };
}

/**
 * What glibc's allocator is told for a worker (mallopt(3); other systems ignore it). Its own thresholds grow with what is freed, and each thread
 * gets an arena: what the workflows of thousands of open windows leave behind then stays resident, though nothing holds it.
 */
export const WORKER_ALLOCATOR = { MALLOC_ARENA_MAX: '2', MALLOC_TRIM_THRESHOLD_: '131072', MALLOC_MMAP_THRESHOLD_: '131072' };

/** The environment of a part: the caller's without what would lead it to another Temporal cluster or AWS account. */
export function partEnvironment(own: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(own).filter(([name]) => !/^TEMPORAL_|^AWS_(PROFILE|DEFAULT_PROFILE|SESSION_TOKEN|ROLE_ARN|WEB_IDENTITY_TOKEN_FILE)$/.test(name)));
}

/** The stack that runs on a data folder now; undefined when none does, whatever an earlier one left there. */
export function runningStack(dataDir: string): DevStackFacts | undefined {
  const files = devFiles(dataDir);
  return lockHolder(files.lock) === undefined ? undefined : readJson<DevStackFacts>(files.stack);
}
