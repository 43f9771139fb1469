import type { Role } from './names';

/**
 * Who must sign what. The floor is DESIGN.md's table (rule 4); configuration can raise `needed`, never lower it.
 * Pure; used by the activities that decide and by the workflows that show who is missing.
 */
export interface Floor {
  needed: number;
  /** Roles that count; a role in `atMostOne` counts for one of the signers only. */
  roles: readonly Role[];
  atMostOne: readonly Role[];
}

export const FLOORS = {
  'revokeKey.disable': { needed: 1, roles: ['EmergencyKeyAdmin'], atMostOne: [] },
  'revokeKey.widen': { needed: 2, roles: ['KeyRecoveryAdmin', 'EmergencyKeyAdmin'], atMostOne: ['EmergencyKeyAdmin'] },
  recoverKey: { needed: 2, roles: ['KeyRecoveryAdmin', 'EmergencyKeyAdmin'], atMostOne: ['EmergencyKeyAdmin'] },
  eraseSubject: { needed: 2, roles: ['KeyRecoveryAdmin'], atMostOne: [] },
  rotateKey: { needed: 1, roles: ['KeyManagementAdmin'], atMostOne: [] },
  'rotateKey.cutover': { needed: 2, roles: ['KeyManagementAdmin'], atMostOne: [] },
} as const satisfies Record<string, Floor>;

export type QuorumName = keyof typeof FLOORS;

export interface Signer {
  person: string;
  role: Role;
}

export interface QuorumState {
  met: boolean;
  signed: Signer[];
  /** How many more people, and which roles they may sign under. */
  missing: number;
  eligible: Role[];
}

export function floorOf(name: QuorumName, raised: Partial<Record<QuorumName, number | undefined>>): Floor {
  const floor: Floor = FLOORS[name];
  return { ...floor, needed: Math.max(floor.needed, raised[name] ?? 0) };
}

/** Counts different people; a person's second signature, under whatever role, counts for nothing. */
export function quorumState(floor: Floor, signatures: readonly Signer[]): QuorumState {
  const signed: Signer[] = [];
  for (const s of signatures) {
    if (!floor.roles.includes(s.role)) continue;
    if (signed.some((t) => t.person === s.person)) continue;
    if (floor.atMostOne.includes(s.role) && signed.some((t) => t.role === s.role)) continue;
    signed.push({ person: s.person, role: s.role });
  }
  const missing = Math.max(0, floor.needed - signed.length);
  const eligible = floor.roles.filter((r) => !(floor.atMostOne.includes(r) && signed.some((s) => s.role === r)));
  return { met: missing === 0, signed, missing, eligible };
}
