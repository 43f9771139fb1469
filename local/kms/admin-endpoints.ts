/** The endpoints under /_local/: clock, principals, faults, calls, quotas. For tests and development; no credentials asked. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { CallFilter } from './call-log';
import type { Fault } from './faults';
import type { QuotaSetting } from './quotas';
import type { KmsService } from './service';

type Handler = (service: KmsService, body: any, query: URLSearchParams) => object | Promise<object>;

const health: Handler = (service) => ({ ok: true, clock: new Date(service.now()).toISOString(), regions: service.settings.regions });

const readTime = (time: unknown): number => {
  const ms = typeof time === 'number' ? time : Date.parse(String(time));
  if (!Number.isFinite(ms)) throw new Error(`not a time: ${String(time)}`);
  return ms;
};

const HANDLERS: Record<string, Handler> = {
  'GET /_local/health': health,
  'GET /_local/clock': health,
  'PUT /_local/clock': async (service, { time }) => {
    await service.setClock(readTime(time));
    return { clock: new Date(service.now()).toISOString() };
  },
  'POST /_local/clock/advance': async (service, { ms }) => {
    await service.setClock(service.now() + readTime(ms));
    return { clock: new Date(service.now()).toISOString() };
  },
  'PUT /_local/principals': async (service, { accessKeyId, arn, identityPolicy }) => {
    await service.addPrincipal(String(accessKeyId), { arn, ...(identityPolicy === undefined ? {} : { identityPolicy }) });
    return {};
  },
  'POST /_local/faults': (service, fault: Fault) => ({ id: service.faults.add(fault) }),
  'DELETE /_local/faults': (service) => {
    service.faults.clear();
    return {};
  },
  'GET /_local/calls': (service, _body, query) => {
    const { limit, ...filter } = Object.fromEntries(query) as Record<string, string>;
    return { calls: service.calls.find({ ...filter, ...(limit === undefined ? {} : { limit: Number(limit) }) } as CallFilter) };
  },
  'PUT /_local/quotas': (service, { quotas }: { quotas: QuotaSetting }) => {
    service.quotas.set(quotas);
    return {};
  },
};

/** A page in a browser must not reach these: it would send an Origin, or a Host that is not loopback (DNS rebinding). */
const fromBrowser = ({ headers }: IncomingMessage): boolean =>
  headers.origin !== undefined || !/^(127\.0\.0\.1|localhost|\[::1\])(:\d+)?$/.test(headers.host ?? '');

export async function answerAdmin(service: KmsService, request: IncomingMessage, response: ServerResponse, url: URL, readBody: (request: IncomingMessage) => Promise<string>): Promise<void> {
  const reply = (status: number, body: object): void => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(body));
  };
  const text = await readBody(request);
  const handler = HANDLERS[`${request.method} ${url.pathname}`];
  if (fromBrowser(request)) return reply(403, { error: 'only for programs on this machine' });
  if (handler === undefined) return reply(404, { error: `no such endpoint: ${request.method} ${url.pathname}` });
  try {
    reply(200, await handler(service, text === '' ? {} : JSON.parse(text), url.searchParams));
  } catch (error) {
    reply(400, { error: (error as Error).message });
  }
}
