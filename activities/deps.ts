import type { SNSClient } from '@aws-sdk/client-sns';
import type { Client } from '@temporalio/client';
import type { Clock } from '../domain/clock';
import type { Config } from '../domain/config';
import type { Duty } from '../domain/names';
import type { AuditTrail } from '../stores/auditTrail';
import type { Store } from '../stores/store';
import type { RegionalKms } from './kms';

/** What a duty's process gives its activities. Nothing here comes from a workflow. */
export interface Deps {
  duty: Duty;
  config: Config;
  /** `environment: development` and a loopback KMS. */
  development: boolean;
  clock: Clock;
  /** By Region, with this duty's credentials. */
  kms: ReadonlyMap<string, RegionalKms>;
  store: Store;
  trail: AuditTrail;
  sns: SNSClient;
  /** For reading histories, whose times are the server's. */
  temporal: Client;
  /** Whether the worker saw Keywarden's search attributes registered. */
  searchable: boolean;
}
