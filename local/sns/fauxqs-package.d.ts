/** The part of fauxqs that is used; its own types are reachable from ES modules only. */
declare module 'fauxqs' {
  export interface FauxqsAnswer {
    statusCode: number;
    headers: Record<string, string | undefined>;
    body: string;
  }
  /** A Fastify application. Not started: `startFauxqs` would listen on every interface of the machine. */
  export interface FauxqsApp {
    inject(request: { method: string; url: string; headers: Record<string, string>; payload?: string | Buffer }): Promise<FauxqsAnswer>;
    close(): Promise<void>;
  }
  export function buildApp(o: { logger: boolean; host: string; defaultRegion: string }): FauxqsApp;
}
