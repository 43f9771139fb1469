/** What a part and its supervisor say to each other over IPC. */
export type FromPart =
  | { type: 'ready'; info: PartInfo }
  /** A process that the part started and that cannot notice the supervisor's death by itself. */
  | { type: 'child'; pid: number }
  | { type: 'failed'; message: string };

export type ToPart = { type: 'stop' };

/** What a part says of itself when it is ready. */
export interface PartInfo {
  url?: string;
  topicArns?: Record<string, string>;
}

export const PART_NAMES = ['temporal', 'kms', 'sns', 'worker'] as const;
export type PartName = (typeof PART_NAMES)[number];

/** What the supervisor gives each part to start with, as JSON on its command line. */
export interface PartOptions {
  temporal: { cli: string; dataDir: string; port: number; uiPort: number };
  kms: { dataDir: string; host: string; port: number; account: string; regions: string[] };
  sns: { dataDir: string; port: number; topics: string[]; account: string; region: string };
  worker: { duty: Duty };
}

export type Duty = 'all' | 'routine' | 'emergency' | 'recovery';

/** What a reader of the terminal calls them. */
export const PART_TITLES: Record<PartName, string> = { temporal: 'Temporal', kms: 'the local KMS', sns: 'SNS', worker: 'the worker' };
