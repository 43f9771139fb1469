import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { misbehave, nextFault, type SnsFaults } from './faults';
import { FAUXQS_ACCOUNT, type Fauxqs } from './fauxqs';

export interface FrontOptions {
  fauxqs: Fauxqs;
  account: string;
  /** After each request, before its answer. */
  afterRequest(): Promise<void>;
  received(): unknown;
}

/** What listens on the public port: faults on demand, the account of the configuration, and answers after storage. */
export function snsFront(o: FrontOptions): Server {
  const faults: SnsFaults = { mode: 'none' };
  return createServer((request, response) => {
    void readBody(request)
      .then((body) => (request.url?.startsWith('/_local/') ? local(o, faults, request, response, body) : pass(o, faults, request, response, body)))
      .catch((e: Error) => {
        if (!response.headersSent) response.writeHead(500, { 'content-type': 'text/plain' });
        response.end(e.message);
      });
  });
}

function local(o: FrontOptions, faults: SnsFaults, request: IncomingMessage, response: ServerResponse, body: Buffer): void {
  if (request.url === '/_local/faults' && request.method === 'PUT') {
    const wanted = JSON.parse(body.toString()) as SnsFaults;
    delete faults.count;
    delete faults.status;
    Object.assign(faults, wanted);
  }
  const answer = request.url === '/_local/faults' ? faults : request.url === '/_local/received' ? o.received() : undefined;
  response.writeHead(answer === undefined ? 404 : 200, { 'content-type': 'application/json' });
  response.end(JSON.stringify(answer ?? null));
}

async function pass(o: FrontOptions, faults: SnsFaults, request: IncomingMessage, response: ServerResponse, body: Buffer): Promise<void> {
  const fault = nextFault(faults);
  if (misbehave(fault, request, response)) return;
  const headers: Record<string, string> = {};
  for (const name of ['content-type', 'authorization', 'x-amz-target']) {
    const value = request.headers[name];
    if (typeof value === 'string') headers[name] = value;
  }
  const isForm = headers['content-type']?.includes('x-www-form-urlencoded') ?? false;
  const payload = isForm ? withFauxqsAccount(body.toString(), o.account) : body;
  const answer = await o.fauxqs.pass(request.method ?? 'POST', request.url ?? '/', headers, payload);
  await o.afterRequest();
  if (fault.mode === 'lose-answer') return void request.socket.destroy();
  response.writeHead(answer.statusCode, { 'content-type': answer.headers['content-type'] ?? 'text/xml' });
  response.end(answer.body.replaceAll(`:${FAUXQS_ACCOUNT}:`, `:${o.account}:`));
}

/** Only parameters that are ARNs: a message may quote one and stays as it is. */
function withFauxqsAccount(form: string, account: string): string {
  const fields = new URLSearchParams(form);
  for (const [name, value] of fields) {
    if (/Arn$/.test(name)) fields.set(name, value.replace(`:${account}:`, `:${FAUXQS_ACCOUNT}:`));
  }
  return fields.toString();
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
