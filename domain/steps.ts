/** The steps of each procedure, in order: what the checklist shows and what the written runbook must name. */
export interface StepDefinition {
  name: string;
  title: string;
}

export const REVOKE_STEPS = [
  { name: 'disable', title: 'Disable the key in every Region' },
  { name: 'alert', title: 'Alert security' },
  { name: 'open-window', title: 'Record the revocation and open the recovery window' },
  { name: 'prove-effect', title: 'Prove that the key no longer decrypts' },
  { name: 'drain', title: 'Wait until every application has dropped the keys that it holds' },
  { name: 'census', title: 'Count what depends on the key' },
  { name: 'hold', title: 'Hold the disabled state against a pre-empted procedure' },
  { name: 'sign-widening', title: 'Two people sign the quarantine or the deletion' },
  { name: 'quarantine', title: 'Put the quarantine policy in every Region and enable for re-wrapping' },
  { name: 'delete', title: 'Schedule the deletion of the key' },
  { name: 'window', title: 'Wait for a recovery or the end of the window' },
  { name: 'close', title: 'Close the window and say how it ended' },
] as const satisfies readonly StepDefinition[];

export const RECOVER_STEPS = [
  { name: 'check', title: 'Check the window, the policy, the grants and the aliases' },
  { name: 'sign', title: 'Two people sign the recovery' },
  { name: 'begin', title: 'Take the key over and end pending disables' },
  { name: 'cancel-deletion', title: 'Cancel a pending deletion in each Region' },
  { name: 'restore-policy', title: 'Restore the key policy in each Region and read it back' },
  { name: 'enable', title: 'Enable the key in each Region' },
  { name: 'prove', title: 'Prove that the key decrypts again' },
  { name: 'close', title: 'Close the revocation window' },
  { name: 'notify', title: 'Tell security' },
] as const satisfies readonly StepDefinition[];

export const ERASE_STEPS = [
  { name: 'check', title: 'Check the request and make the plan' },
  { name: 'sign', title: 'Two people sign the erasure' },
  { name: 'withhold', title: "Withhold the person's keys from every application" },
  { name: 'wait', title: 'Wait for a rejection or the end of the waiting time' },
  { name: 'delete', title: "Delete the person's wrapped keys" },
  { name: 'retention', title: 'Wait until no backup holds them any more' },
  { name: 'prove', title: 'Issue the proof of destruction' },
  { name: 'notify', title: 'Tell security' },
] as const satisfies readonly StepDefinition[];

export const ROTATE_STEPS = [
  { name: 'check', title: 'Check the key, its rotations and what is wrapped under it' },
  { name: 'sign', title: 'A person signs the new material, where one must' },
  { name: 'begin', title: 'Take the key for this rotation' },
  { name: 'material', title: 'Make new key material, or use what KMS has made' },
  { name: 'column-keys', title: 'Re-wrap the column encryption keys' },
  { name: 'subject-keys', title: 'Re-wrap the subject keys' },
  { name: 'verify', title: 'Verify that nothing is left on older material' },
  { name: 'close', title: 'Record the rotation and give the key back' },
  { name: 'notify', title: 'Tell security' },
] as const satisfies readonly StepDefinition[];

export const REPLACE_STEPS = [
  { name: 'check', title: 'Check the key in every Region and what is wrapped under it' },
  { name: 'sign', title: 'A person signs the replacement' },
  { name: 'begin', title: 'Take the key for this rotation' },
  { name: 'create', title: 'Make the new CMK in every Region' },
  { name: 'column-keys', title: 'Give each column encryption key a second value under the new CMK' },
  { name: 'subject-keys', title: 'Re-wrap the subject keys under the new CMK, the old ciphertexts kept beside' },
  { name: 'verify', title: 'Verify that all of it opens under the new CMK' },
  { name: 'consumers', title: 'Wait until every application has opened something under the new CMK' },
  { name: 'sign-off', title: 'A second person signs the cutover' },
  { name: 'cutover', title: 'Point the aliases at the new CMK in every Region' },
  { name: 'deactivate', title: 'Let the old CMK decrypt only' },
  { name: 'sweep', title: 'Re-wrap what was made under the old CMK meanwhile' },
  { name: 'drop', title: 'Drop the old ciphertexts' },
  { name: 'roll-back', title: 'Take everything back to the old CMK' },
  { name: 'close', title: 'Record the replacement and give the key back' },
  { name: 'notify', title: 'Tell security' },
  { name: 'retire', title: 'Keep the old CMK while backups need it, then propose its end' },
] as const satisfies readonly StepDefinition[];

export const ROTATE_COLUMN_KEY_STEPS = [
  { name: 'begin', title: 'Find the CEK and take its CMK' },
  { name: 're-wrap', title: 'Re-wrap the CEK under the current material of its CMK' },
  { name: 'close', title: 'Give the CMK back' },
  { name: 'notify', title: 'Tell security, where it does not open' },
] as const satisfies readonly StepDefinition[];

export const ROTATE_DUE_STEPS = [
  { name: 'look', title: 'Find the keys that are due' },
  { name: 'rotate', title: 'Rotate each of them' },
  { name: 'warn', title: 'Tell security what is overdue' },
] as const satisfies readonly StepDefinition[];

export const INITIALIZE_STEPS = [
  { name: 'own-keys', title: "Find Keywarden's own keys" },
  { name: 'create', title: 'Make or find the CMK of each purpose' },
  { name: 'replicate', title: 'Replicate each CMK to every Region' },
  { name: 'alias', title: 'Point the alias of each purpose at its CMK in every Region' },
  { name: 'canary', title: 'Make the canary of each CMK' },
  { name: 'schedule', title: 'Make the daily schedule of rotations' },
] as const satisfies readonly StepDefinition[];
