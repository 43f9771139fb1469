import { KMSClient } from '@aws-sdk/client-kms';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { KeyManagementService, type KeyManagementOptions } from '../../client';
import { credentialsFor } from '../../worker/credentials';
import type { World } from '../harness/world';

/** An application's KMS clients, with the application's rights, the nearest Region first. */
export function applicationKms(world: World): KMSClient[] {
  return world.config.regions.map((region) => new KMSClient({ region, endpoint: world.kms.url, maxAttempts: 1, credentials: credentialsFor('application')!, requestHandler: new NodeHttpHandler({ connectionTimeout: 500, requestTimeout: 1_500, throwOnRequestTimeout: true }) }));
}

/** One process of an application, as far as Keywarden is concerned. */
export function application(world: World, encryption: KeyManagementOptions['encryption'] = {}): KeyManagementService {
  return new KeyManagementService({ store: world.store, kms: applicationKms(world), config: world.config, encryption });
}
