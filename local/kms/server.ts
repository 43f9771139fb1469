/** The socket: AWS JSON 1.1 on POST /, the admin endpoints under /_local/. Loopback only. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { randomUUID } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { answerAdmin } from './admin-endpoints';
import { readCredentialScope } from './credential-scope';
import { KmsError } from './errors';
import type { KmsService, Outcome } from './service';

const LOOPBACK = new Set(['127.0.0.1', '::1', 'localhost']);
const LARGEST_BODY = 1024 * 1024;
const TARGET = 'TrentService.';

function readBody(request: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > LARGEST_BODY) reject(new KmsError('RequestEntityTooLargeException', '', 413));
      else chunks.push(chunk);
    });
    request.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')));
    request.on('error', reject);
  });
}

function send(response: ServerResponse, { status, body, requestId }: Extract<Outcome, { kind: 'answer' }>): void {
  const bytes = Buffer.from(body);
  response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1', 'content-length': bytes.length, 'x-amzn-RequestId': requestId });
  response.end(bytes);
}

const refusal = (error: KmsError): Outcome =>
  ({ kind: 'answer', status: error.status, body: JSON.stringify({ __type: error.code, message: error.message }), requestId: randomUUID() });

async function answerKms(service: KmsService, request: IncomingMessage, url: URL): Promise<Outcome> {
  const body = await readBody(request);
  const target = request.headers['x-amz-target'];
  if (request.method !== 'POST' || url.pathname !== '/' || typeof target !== 'string' || !target.startsWith(TARGET)) throw new KmsError('UnknownOperationException');
  const claim = readCredentialScope(request.headers.authorization, url.searchParams, service.settings.regions);
  return service.handle(claim, target.slice(TARGET.length), body);
}

async function respond(service: KmsService, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://local');
  if (url.pathname.startsWith('/_local/')) return answerAdmin(service, request, response, url, readBody);
  let outcome: Outcome;
  try {
    outcome = await answerKms(service, request, url);
  } catch (error) {
    outcome = refusal(error instanceof KmsError ? error : new KmsError('KMSInternalException', 'The local KMS failed.', 500));
  }
  if (outcome.kind === 'answer') send(response, outcome);
  else if (outcome.kind === 'drop') request.socket.destroy();
}

/** Resolves when it listens. Throws for a host that is not loopback: what stands here protects nothing. */
export function listen(service: KmsService, host: string, port: number): Promise<{ server: Server; url: string; port: number }> {
  if (!LOOPBACK.has(host)) throw new Error(`the local KMS binds loopback only, not ${host}`);
  const server = createServer((request, response) => {
    respond(service, request, response).catch((error: unknown) => {
      console.error('local KMS: a request failed', error);
      request.socket.destroy();
    });
  });
  // clients that keep connections must not find them closed under their next request
  server.keepAliveTimeout = 75_000;
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      const bound = (server.address() as AddressInfo).port;
      resolve({ server, port: bound, url: `http://${host === '::1' ? '[::1]' : host}:${bound}` });
    });
  });
}
