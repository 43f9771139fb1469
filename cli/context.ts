import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Client, Connection } from '@temporalio/client';
import type { RegionalKms } from '../activities/kms';
import type { Config } from '../domain/config';
import { KeywardenError } from '../domain/errors';
import type { Store } from '../stores/store';
import type { Who } from '../worker/credentials';
import { Output } from './output';

export interface GlobalOptions {
  json?: boolean;
  data?: string;
  as?: string;
}

/** What a command works with. Parts are made when asked for, so that each command loads only what it needs. */
export class Context {
  readonly out: Output;
  readonly dataDir: string;
  private configRead: Promise<Config> | undefined;
  private connected: Promise<{ client: Client; connection: Connection }> | undefined;
  private storeOpen: Promise<Store> | undefined;

  constructor(readonly options: GlobalOptions) {
    this.out = new Output(options.json === true);
    this.dataDir = resolve(options.data ?? process.env['KEYWARDEN_DATA'] ?? '.keywarden');
  }

  /** A stack that `keywarden dev` runs on this machine is found by its folder, unless the environment names another. */
  async environment(): Promise<void> {
    if (process.env['TEMPORAL_ADDRESS'] !== undefined && this.options.data === undefined) return;
    if (!existsSync(this.dataDir)) return;
    const { devEnvironment, runningStack } = await import('../local/supervise/dev-environment');
    const stack = runningStack(this.dataDir);
    if (stack === undefined) return;
    const { demoFiles } = await import('../local/demo/files');
    const files = demoFiles(this.dataDir);
    for (const [name, value] of Object.entries({ ...devEnvironment(stack, this.dataDir), KEYWARDEN_DEV_CREDENTIALS: files.credentials, KEYWARDEN_IDENTITIES: files.identities })) {
      if (this.options.data !== undefined || process.env[name] === undefined) process.env[name] = value;
    }
  }

  config(): Promise<Config> {
    return (this.configRead ??= import('../worker/config').then((m) => m.loadConfig()));
  }

  async temporal(): Promise<Client> {
    this.connected ??= (async () => {
      const [{ Client: TheClient, Connection: TheConnection }, { loadClientConnectConfig }] = await Promise.all([import('@temporalio/client'), import('@temporalio/envconfig')]);
      const { connectionOptions, namespace = 'default' } = loadClientConnectConfig();
      try {
        const connection = await TheConnection.connect({ ...connectionOptions, connectTimeout: 5_000 });
        return { client: new TheClient({ connection, namespace }), connection };
      } catch (cause) {
        throw new KeywardenError('KW-TEMPORAL', `Temporal at ${connectionOptions.address ?? '127.0.0.1:7233'} does not answer`, { notDone: 'nothing was started or changed', next: 'start it (in development: keywarden dev), or in an emergency disable the key without it: keywarden revoke KEY --reason "…" --as NAME --direct', cause });
      }
    })();
    return (await this.connected).client;
  }

  async kms(who: Who): Promise<Map<string, RegionalKms>> {
    const [{ RegionalKms: TheKms }, { credentialsFor }, config] = await Promise.all([import('../activities/kms'), import('../worker/credentials'), this.config()]);
    const credentials = credentialsFor(who);
    const endpoint = process.env['AWS_ENDPOINT_URL_KMS'];
    return new Map(config.regions.map((region) => [region, new TheKms(region, { ...(credentials === undefined ? {} : { credentials }), ...(endpoint === undefined ? {} : { endpoint }) })]));
  }

  store(): Promise<Store> {
    return (this.storeOpen ??= import('../stores/open').then((m) => m.openStore(process.env['KEYWARDEN_DATABASE_URL'] ?? 'file:keywarden.db')));
  }

  /** The person who acts; a name only, the key proves it. */
  person(): string {
    if (this.options.as === undefined) throw new KeywardenError('KW-USAGE', 'who signs?', { path: '--as', notDone: 'nothing was signed', next: 'give --as NAME, a person of the configuration' });
    return this.options.as;
  }

  async close(): Promise<void> {
    await this.connected?.then(({ connection }) => connection.close()).catch(() => undefined);
    await this.storeOpen?.then((s) => s.close()).catch(() => undefined);
  }
}
