import { killExactly, type ProcessIdentity } from './process-identity';
import { readJson, writeJson } from './state-file';

/** The processes of a data folder, on disk: what a killed supervisor left behind can be told from strangers. */
export class ProcessRecord {
  private readonly known: Record<string, ProcessIdentity> = {};

  constructor(private readonly path: string) {}

  note(key: string, identity: ProcessIdentity | undefined): void {
    if (identity === undefined) delete this.known[key];
    else this.known[key] = identity;
    writeJson(this.path, this.known);
  }
}

/** Ends what an earlier supervisor of this folder left: only processes with pid, start time and command line on record. */
export async function endLeftovers(path: string, log: (line: string) => void): Promise<void> {
  const known = readJson<Record<string, ProcessIdentity>>(path) ?? {};
  await Promise.all(
    Object.entries(known).map(async ([key, identity]) => {
      if (await killExactly(identity)) log(`ended ${key} (process ${identity.pid}), left by an earlier start`);
    }),
  );
}
