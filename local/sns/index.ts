import type { AddressInfo } from 'node:net';
import { FAUXQS_ACCOUNT, loadFauxqs } from './fauxqs';
import { snsFront } from './front';
import { openReceived, readReceived, type ReceivedMessage } from './received';
import { subscribe } from './subscriber';

export { readReceived, receivedPath, type ReceivedMessage } from './received';
export { setSnsFaults, type SnsFaults } from './faults';

export interface LocalSnsOptions {
  dataDir: string;
  /** The public port; any free one when left out. */
  port?: number;
  /** Names; made again at each start, since fauxqs forgets. */
  topics: string[];
  account: string;
  region: string;
}

export interface LocalSns {
  url: string;
  port: number;
  /** Topic name to ARN. */
  topicArns: Record<string, string>;
  received(): Promise<ReceivedMessage[]>;
  stop(): Promise<void>;
}

/** SNS on this machine: fauxqs, one subscriber that stores what arrives, and a front with faults. */
export async function startLocalSns(o: LocalSnsOptions): Promise<LocalSns> {
  const fauxqs = await loadFauxqs(o.region);
  const topicArns: Record<string, string> = {};
  for (const topic of o.topics) {
    await fauxqs.sns('CreateTopic', { Name: topic });
    topicArns[topic] = `arn:aws:sns:${o.region}:${o.account}:${topic}`;
  }
  const file = openReceived(o.dataDir);
  const inFauxqs = o.topics.map((topic) => `arn:aws:sns:${o.region}:${FAUXQS_ACCOUNT}:${topic}`);
  const { drain } = await subscribe({ fauxqs, topicArns: inFauxqs, region: o.region, account: o.account, file });
  const front = snsFront({ fauxqs, account: o.account, afterRequest: drain, received: () => readReceived(o.dataDir) });
  await new Promise<void>((resolve, reject) => {
    front.once('error', reject);
    front.listen(o.port ?? 0, '127.0.0.1', resolve);
  });
  const { port } = front.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    topicArns,
    received: async () => readReceived(o.dataDir),
    async stop() {
      front.closeAllConnections();
      await new Promise((resolve) => front.close(resolve));
      await fauxqs.close();
      file.close();
    },
  };
}
