import { libraryDecrypt } from './libraryDecrypt';
import { pacing } from './pacing';
import { revokeCommand } from './revokeCommand';
import { revokeDisable } from './revokeDisable';
import { revokeLoaded } from './revokeLoaded';
import { rewrap } from './rewrap';
import type { Session } from './session';
import type { Figure } from './timing';
import { windowsAct } from './windowsAct';
import { windowsMemory } from './windowsMemory';

export interface Benchmark {
  /** Names of the figures that it makes. */
  figures: readonly string[];
  /** What it measures against what, in a few words. */
  measures: string;
  run(session: Session): Promise<Figure[]>;
}

/** One file, one line. */
export const BENCHMARKS: readonly Benchmark[] = [revokeDisable, revokeCommand, revokeLoaded, windowsMemory, windowsAct, rewrap, pacing, libraryDecrypt];
