import { createServer } from 'node:net';
import { LocalError } from './local-error';
import { readJson, writeJson } from './state-file';

export const PORT_NAMES = ['temporal', 'ui', 'kms', 'sns'] as const;
export type PortName = (typeof PORT_NAMES)[number];
export type Ports = Record<PortName, number>;

/**
 * Ports of a data folder: those given (an error if taken), else those of the last time where free, else any free ones.
 * Remembered, so that a bookmark of the UI and the endpoints in somebody's shell outlive a restart.
 */
export async function choosePorts(file: string, given: Partial<Ports>, log: (line: string) => void): Promise<Ports> {
  const remembered = readJson<Partial<Ports>>(file) ?? {};
  const chosen: Partial<Ports> = {};
  for (const name of PORT_NAMES) {
    const asked = given[name];
    const before = remembered[name];
    if (asked !== undefined && asked !== 0) {
      if (!(await isFree(asked))) throw new LocalError('KW-DEV-PORT', `port ${asked}, asked for ${name}, is taken`, 'give another port, or none');
      chosen[name] = asked;
    } else if (before !== undefined && (await isFree(before))) {
      chosen[name] = before;
    } else {
      chosen[name] = await freePort(new Set(Object.values(chosen)));
      if (before !== undefined) log(`port ${before} of ${name} is taken now; using ${chosen[name]}`);
    }
  }
  writeJson(file, chosen);
  return chosen as Ports;
}

export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen({ port, host: '127.0.0.1', exclusive: true }, () => probe.close(() => resolve(true)));
  });
}

export async function freePort(except: ReadonlySet<number> = new Set()): Promise<number> {
  for (;;) {
    const port = await new Promise<number>((resolve, reject) => {
      const probe = createServer();
      probe.once('error', reject);
      probe.listen({ port: 0, host: '127.0.0.1' }, () => {
        const { port: got } = probe.address() as { port: number };
        probe.close(() => resolve(got));
      });
    });
    if (!except.has(port)) return port;
  }
}
