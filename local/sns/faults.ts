import type { IncomingMessage, ServerResponse } from 'node:http';

/**
 * How SNS misbehaves. `error`: answers `status` and does nothing. `silent`: takes the request and never answers.
 * `drop`: cuts the connection before doing anything. `lose-answer`: does it, then cuts the connection.
 */
export interface SnsFaults {
  mode: 'none' | 'error' | 'silent' | 'drop' | 'lose-answer';
  /** For `error`; 500 when left out. */
  status?: number;
  /** How many requests it hits before SNS is well again; for ever when left out. */
  count?: number;
}

/** Answers or cuts a request as the fault says; true when the request is dealt with. */
export function misbehave(faults: SnsFaults, request: IncomingMessage, response: ServerResponse): boolean {
  switch (faults.mode) {
    case 'none':
    case 'lose-answer':
      return false;
    case 'silent':
      return true;
    case 'drop':
      request.socket.destroy();
      return true;
    case 'error':
      response.writeHead(faults.status ?? 500, { 'content-type': 'text/xml' });
      response.end(
        '<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>Receiver</Type><Code>InternalFailure</Code>' +
          '<Message>fault on demand</Message></Error><RequestId>00000000-0000-0000-0000-000000000000</RequestId></ErrorResponse>',
      );
      return true;
  }
}

/** The fault that hits the next request, counting it. */
export function nextFault(faults: SnsFaults): SnsFaults {
  const hit = { ...faults };
  if (faults.count !== undefined && --faults.count <= 0) {
    faults.mode = 'none';
    delete faults.count;
  }
  return hit;
}

/** Switches the faults of a running local SNS, from any process. */
export async function setSnsFaults(url: string, faults: SnsFaults): Promise<void> {
  const answer = await fetch(new URL('/_local/faults', url), { method: 'PUT', body: JSON.stringify(faults) });
  if (!answer.ok) throw new Error(`faults not taken: ${answer.status} ${await answer.text()}`);
}
