import type { AlertFacts } from './alert';
import type { ErasureProof } from './erasure';
import type { EraseInput, InitializeInput, RecoverInput, RevokeInput, RotateInput } from './inputs';
import type { ProcedureRef, WindowOutcome } from './keyRow';
import type { Plan } from './plan';
import type { QuorumState } from './quorum';
import type { Decided } from './status';

/**
 * What workflows may ask of the duties. Every activity treats its arguments as hostile: a workflow may be an attacker's.
 * Whether it may act comes from signatures and receipts, targets from configuration, KMS and the store.
 */

/** A proof as a message brought it: the run says in which history the server's time for it stands. */
export interface Arrived {
  token: string;
  /** Run in whose history it stands. */
  runId: string;
  comment?: string;
  /** What the sender called it (signal name); must agree with what is signed. */
  as?: 'approve' | 'reject';
}

export interface RegionDisabling {
  region: string;
  /** `silent`: no answer yet, to be tried again. */
  state: 'disabled' | 'pending-deletion' | 'silent';
  /** Before the first call, where KMS had said so by then. */
  before?: 'Enabled' | 'Disabled';
  /** ISO 8601, when KMS had answered. */
  at?: string;
  requestId?: string;
  detail?: string;
}

export interface Disabling {
  outcome: 'disabled' | 'needs-approval';
  keyId: string;
  keyArn: string;
  purpose: string;
  regions: RegionDisabling[];
  /** The key was disabled in every Region before: nothing needed a signature. */
  adopted: boolean;
  /** Who signed. */
  person?: string;
  revokedAt: string;
  deadline: string;
  /** Rows that neither store nor journal took; asked for again. */
  unaudited: boolean;
  /** Whether the server has Keywarden's search attributes. */
  searchable: boolean;
  reminderHours: number[];
}

export interface Prepared {
  plan: Plan;
  digest: string;
  words: string[];
  quorum: QuorumState;
}

export interface Considered extends Prepared {
  decided: Decided[];
  rejected?: Decided;
  /** One for each proof, in order. */
  answers: { accepted: boolean; person?: string; code?: string; reason?: string }[];
  /** Recovery: the end of the window, ISO 8601. */
  deadline?: string;
  /** An accepted proof that allows the disabling (disable gate only). */
  allowing?: Arrived;
}

export interface WindowState {
  mode: 'disable' | 'quarantine';
  procedure: ProcedureRef;
  revokedAt: string;
  deadline: string;
  epoch: number;
  outcome?: WindowOutcome;
  recovery?: ProcedureRef;
  /** Revocations that may still have an attempt to disable under way. */
  disabling: ProcedureRef[];
  /** Later revocations that joined this window. */
  joiners: ProcedureRef[];
}

export interface WindowOpened extends WindowState {
  joined: boolean;
  preempted?: ProcedureRef;
  /** The rotation that was pre-empted. */
  rotation?: ProcedureRef;
  /** How long the disabled state must hold after pre-empting, in milliseconds. */
  holdMs: number;
  /** Why the start's proof was not kept as a receipt, if so. */
  receiptRefused?: string;
}

export interface Census {
  columnKeyValues: number;
  subjectKeys: number;
  databases: string[];
  /** Backups made until now may need the key until then, ISO 8601. */
  backupsUntil?: string;
  empty: boolean;
}

/** The processes that may have held plaintext keys under a CMK when it was revoked. Lists name some, counts count all. */
export interface Consumers {
  total: number;
  acknowledged: number;
  /** From the disabling until the last of these had acknowledged. */
  lastAfterMs?: number;
  waitingCount: number;
  waiting: { consumerId: string; lastSeenMsAgo: number }[];
  /** Never acknowledged, but what they held has reached its age. */
  lapsed: { consumerId: string; lastSeenMsAgo: number }[];
}

export interface EffectProof {
  regions: { region: string; refused: boolean; afterMs: number; error?: string }[];
}

/** Facts that a duty has certified, canonical JSON, and its MAC over them. */
export interface Certificate {
  text: string;
  mac: string;
}

export interface EmergencyActivities {
  disableKey(a: { input: RevokeInput; proof?: Arrived; regions?: string[] }): Promise<Disabling>;
  considerRevocation(a: { input: RevokeInput; decisions: Arrived[]; malformed: number }): Promise<Considered>;
  openWindow(a: { input: RevokeInput; proof?: Arrived }): Promise<WindowOpened>;
  proveEffect(a: { keyId: string; regions: string[]; since: string }): Promise<EffectProof>;
  holdDisabled(a: { input: RevokeInput; proof?: Arrived }): Promise<{ disabledAgain: number }>;
  beginDisables(a: { input: RevokeInput; proof: Arrived }): Promise<void>;
  /** `unseen`: Regions of which it is not on record yet how they looked when they fell. */
  endDisables(a: { keyId: string }): Promise<{ unseen: string[] }>;
  /** The key's window now; with `revokedAt`, how that window ended if another has followed. */
  windowState(a: { keyId: string; revokedAt?: string }): Promise<WindowState>;
  closeWindow(a: { keyId: string; reason: string; incident?: string }): Promise<{ outcome: WindowOutcome }>;
  census(a: { keyId: string }): Promise<Census>;
  consumers(a: { keyId: string }): Promise<Consumers>;
  alert(a: AlertFacts): Promise<{ eventId: string; messageId: string }>;
}

export interface RecoveryActivities {
  considerWidening(a: { input: RevokeInput; decisions: Arrived[]; malformed: number }): Promise<Considered>;
  considerRecovery(a: { input: RecoverInput; decisions: Arrived[]; malformed: number }): Promise<Considered>;
  quarantineRegion(a: { digest: string; region: string }): Promise<void>;
  scheduleDeletion(a: { digest: string; region: string }): Promise<{ deletionDate?: string }>;
  disableQuarantined(a: { digest: string; region: string }): Promise<void>;
  deletionState(a: { keyId: string }): Promise<{ gone: boolean; deadline?: string; regions: { region: string; state: string }[] }>;
  beginRecovery(a: { digest: string }): Promise<{ revocation: ProcedureRef; pending: ProcedureRef[] }>;
  cancelDeletion(a: { digest: string; region: string }): Promise<{ cancelled: boolean }>;
  restorePolicy(a: { digest: string; region: string }): Promise<void>;
  enableKey(a: { digest: string; region: string }): Promise<{ requestId?: string }>;
  proveRecovery(a: { digest: string; region: string }): Promise<{ afterMs: number }>;
  finishRecovery(a: { digest: string }): Promise<{ states: Record<string, string> }>;
  endRecovery(a: { key: string; why: string }): Promise<void>;
  considerErasure(a: { input: EraseInput; decisions: Arrived[]; malformed: number }): Promise<Considered & { searchable: boolean }>;
  withholdSubject(a: { digest: string }): Promise<{ deadline: string }>;
  restoreSubject(a: { digest: string }): Promise<{ restored: boolean }>;
  deleteSubject(a: { digest: string }): Promise<{ certificate: Certificate; deletedAt: string; keys: number; backupsUntil: string }>;
  keepErased(a: { certificate: Certificate }): Promise<{ reapplied: boolean; backupsUntil: string }>;
  proveErasure(a: { certificate: Certificate }): Promise<{ proof: ErasureProof }>;
  alert(a: AlertFacts): Promise<{ eventId: string; messageId: string }>;
}

export interface InitializedKey {
  purpose: string;
  keyId: string;
  keyArn: string;
  alias: string;
  made: boolean;
  regions: string[];
}

export interface InitializeActivities {
  findOwnKeys(): Promise<{ keys: string[]; searchable: boolean; purposes: string[]; regions: string[] }>;
  makeKey(a: { purpose: string; input: InitializeInput }): Promise<InitializedKey>;
  replicateKey(a: { purpose: string; region: string }): Promise<{ made: boolean }>;
  pointAlias(a: { purpose: string; region: string }): Promise<{ made: boolean }>;
  makeCanary(a: { purpose: string }): Promise<{ made: boolean }>;
  makeSchedule(): Promise<{ state: 'made' | 'found' | 'unsupported'; id: string }>;
}

/** What a rotation's check found. */
export interface RotationChecked extends Considered {
  keyId: string;
  keyArn: string;
  purpose: string;
  /** Nobody need sign: what the key needs by itself is all that will be done. */
  free: boolean;
  /** Due or not, in words. */
  why: string;
  /** What a person should know, though it stops nothing. */
  findings: { kind: 'rotation-quota' | 'replica-down'; text: string }[];
  wrapped: { subjectKeys: number; columnKeyValues: number };
  searchable: boolean;
  /** Stretches that may run at once. */
  parallel: number;
}

/** A wrapped key's place in the order of a re-wrap; stretches are cut at places. */
export interface RewrapPlace {
  material: string;
  purpose: string;
  subjectId: string;
}

export interface StretchDone {
  rewrapped: number;
  /** Changed or deleted by somebody else meanwhile. */
  changed: number;
  setAside: number;
}

export interface RotationVerified {
  material: string;
  /** Wrapped keys that still stand on older material, without those set aside. */
  left: number;
  setAside: number;
  /** Written by this rotation, by its audit rows. */
  rewrapped: number;
  columnKeys: number;
}

export interface ColumnKeyBegun {
  keyId: string;
  purpose: string;
  material: string;
  /** It stands on that material already. */
  current: boolean;
  searchable: boolean;
}

export interface DueKey {
  purpose: string;
  keyId: string;
  due: boolean;
  overdue: boolean;
  why: string;
  /** The procedure that holds the key now. */
  open?: string;
}

/** What the check of a replacement found. */
export interface ReplacementChecked extends Considered {
  keyId: string;
  keyArn: string;
  purpose: string;
  /** The primary Region first: the new CMK is made there. */
  regions: string[];
  wrapped: { subjectKeys: number; columnKeyValues: number };
  searchable: boolean;
  parallel: number;
}

export interface ReplacementVerified {
  /** Wrapped keys that still stand under the old CMK only, without those set aside. */
  left: number;
  setAside: number;
  /** Under the new CMK. */
  subjectKeys: number;
  columnKeys: number;
  /** Subject keys that were opened under the new CMK, picked at random. */
  sampled: number;
}

/** A rotation that moves everything to a new CMK: the recovery duty's part, and the routine duty's. */
export interface ReplacementActivities {
  considerReplacement(a: { input: RotateInput; decisions: Arrived[]; malformed: number }): Promise<ReplacementChecked>;
  beginReplacement(a: { digest: string }): Promise<void>;
  makeReplacement(a: { digest: string; region: string }): Promise<{ keyId: string }>;
  considerCutover(a: { input: RotateInput; decisions: Arrived[]; malformed: number }): Promise<Considered>;
  cutover(a: { digest: string; region: string }): Promise<{ moved: string[] }>;
  deactivate(a: { digest: string; region: string }): Promise<void>;
  /** `replacement`: the new CMK, where there is one. */
  rollBack(a: { keyId: string; why?: string }): Promise<{ replacement?: string }>;
  withdrawReplacement(a: { keyId: string; region: string }): Promise<void>;
  endReplacement(a: { keyId: string; why?: string }): Promise<{ backupsUntil: string }>;
  verifyReplacement(a: { keyId: string }): Promise<ReplacementVerified>;
  openedBy(a: { keyId: string }): Promise<Pick<Consumers, 'total' | 'waitingCount' | 'waiting'>>;
  settleReplacement(a: { keyId: string }): Promise<{ how: 'drop' | 'restore'; subjectKeys: number; columnKeys: number }>;
}

export interface RotationActivities {
  considerRotation(a: { input: RotateInput; decisions: Arrived[]; malformed: number }): Promise<RotationChecked>;
  beginRotation(a: { keyId: string }): Promise<{ stale: number }>;
  /** Takes the CMK of a CEK for the re-wrap of that one. */
  beginColumnKey(a: { cek: string }): Promise<ColumnKeyBegun>;
  makeMaterial(a: { keyId: string; digest?: string }): Promise<{ material: string; made: 'made' | 'used' | 'found' }>;
  rewrapColumnKeys(a: { keyId: string }): Promise<StretchDone>;
  planStretches(a: { keyId: string; after?: RewrapPlace; count: number }): Promise<{ ends: RewrapPlace[] }>;
  rewrapStretch(a: { keyId: string; after?: RewrapPlace; upTo: RewrapPlace }): Promise<StretchDone>;
  verifyRotation(a: { keyId: string }): Promise<RotationVerified>;
  endRotation(a: { keyId: string; outcome: 'rotated' | 'incomplete' | 'ended'; why?: string }): Promise<void>;
  dueKeys(): Promise<{ keys: DueKey[]; searchable: boolean }>;
  alert(a: AlertFacts): Promise<{ eventId: string; messageId: string }>;
}
