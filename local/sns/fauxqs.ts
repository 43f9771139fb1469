import type { FauxqsAnswer, FauxqsApp } from 'fauxqs';

/** The only account that fauxqs knows. */
export const FAUXQS_ACCOUNT = '000000000000';

/** fauxqs in this process, with no port of its own: requests are handed to it. */
export interface Fauxqs {
  /** An SNS action in form encoding; answers the XML. */
  sns(action: string, fields: Record<string, string>): Promise<string>;
  /** An SQS action in JSON. */
  sqs<T>(action: string, body: object): Promise<T>;
  /** A request as a client sent it. */
  pass(method: string, url: string, headers: Record<string, string>, payload: string | Buffer): Promise<FauxqsAnswer>;
  close(): Promise<void>;
}

/** fauxqs is published as ES modules only, and the bundler turns `import()` into a require: this one it cannot see. */
const importModule = new Function('name', 'return import(name)') as (name: 'fauxqs') => Promise<typeof import('fauxqs')>;

export async function loadFauxqs(region: string): Promise<Fauxqs> {
  const { buildApp } = await importModule('fauxqs');
  const app: FauxqsApp = buildApp({ logger: false, host: '127.0.0.1', defaultRegion: region });
  // fauxqs reads the Region from here, and nothing else of it
  const authorization = `AWS4-HMAC-SHA256 Credential=local/20260101/${region}/any/aws4_request, SignedHeaders=host, Signature=none`;
  const ask = async (what: string, headers: Record<string, string>, payload: string) => {
    const { statusCode, body } = await app.inject({ method: 'POST', url: '/', headers: { authorization, ...headers }, payload });
    if (statusCode !== 200) throw new Error(`${what}: ${statusCode} ${body}`);
    return body;
  };
  return {
    sns: (action, fields) =>
      ask(`SNS ${action}`, { 'content-type': 'application/x-www-form-urlencoded' }, new URLSearchParams({ Action: action, ...fields }).toString()),
    async sqs<T>(action: string, body: object) {
      const headers = { 'content-type': 'application/x-amz-json-1.0', 'x-amz-target': `AmazonSQS.${action}` };
      const answer = await ask(`SQS ${action}`, headers, JSON.stringify(body));
      return (answer === '' ? {} : JSON.parse(answer)) as T;
    },
    pass: (method, url, headers, payload) => app.inject({ method, url, headers, ...(payload.length > 0 ? { payload } : {}) }),
    close: () => app.close(),
  };
}
