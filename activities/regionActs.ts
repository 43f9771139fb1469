import { sleep } from '@temporalio/activity';
import type { AuditEntry } from '../domain/audit';
import { policyDigest } from '../domain/digest';
import { KeywardenError } from '../domain/errors';
import { matter, type RegionPlan } from '../domain/plan';
import type { Authority } from './authority';
import type { Deps } from './deps';
import { effect, found } from './effect';
import type { RegionalKms } from './kms';

/** One key in one Region under one signed plan: the acts that widen or destroy, each with its audit rows and read back until it holds. */
export class RegionActs {
  readonly kms: RegionalKms;
  readonly expects: RegionPlan;

  constructor(private readonly deps: Deps, private readonly by: Authority, readonly region: string) {
    const kms = deps.kms.get(region);
    const expects = by.plan.expects?.[region];
    if (kms === undefined || expects === undefined) {
      throw new KeywardenError('KW-PLAN-DRIFT', `the plan says nothing of ${region}`, { key: by.plan.keyId, notDone: `nothing was done in ${region}`, next: 'have a plan signed that names the Region' });
    }
    this.kms = kms;
    this.expects = expects;
  }

  get keyId(): string {
    return this.by.plan.keyId;
  }

  private facts(action: string, detail?: Record<string, unknown>): Pick<AuditEntry, 'action' | 'keyId' | 'keyArn' | 'region' | 'planDigest' | 'approvers' | 'reason' | 'detail'> {
    return {
      action,
      keyId: this.keyId,
      keyArn: `arn:aws:kms:${this.region}:${this.deps.config.account}:key/${this.keyId}`,
      region: this.region,
      planDigest: this.by.digest,
      approvers: this.by.approvers,
      ...matter(this.by.plan),
      ...(detail === undefined ? {} : { detail }),
    };
  }

  async state(): Promise<string> {
    return (await this.kms.describe(this.keyId))?.KeyState ?? 'absent';
  }

  /** Reads until the state holds: KMS says so itself that changes take seconds, rarely minutes (facts A6). */
  async until(wanted: string, ms = 8_000): Promise<void> {
    const end = Date.now() + ms;
    for (;;) {
      const state = await this.state();
      if (state === wanted) return;
      if (Date.now() > end) throw new KeywardenError('KW-NOT-YET', `the key is ${state} in ${this.region}, not ${wanted} yet`, { key: this.keyId, notDone: `the step in ${this.region} is not over`, next: 'it is tried again' });
      await sleep(150);
    }
  }

  /** Drift voids a plan: the policy must be the one signed for (or already the new one), the grants exactly those. */
  async checkUnchanged(): Promise<void> {
    const [policy, grants] = await Promise.all([this.kms.policy(this.keyId), this.kms.grants(this.keyId)]);
    const found = policyDigest(policy);
    if (found !== this.expects.policy && found !== this.expects.newPolicy) this.drift(`the key policy in ${this.region} is neither the one signed for nor the new one`);
    const { grants: expected } = this.expects;
    const ids = grants.map((g) => g.grantId);
    if (expected !== undefined && JSON.stringify(ids) !== JSON.stringify(expected)) {
      const planted = grants.find((g) => !expected.includes(g.grantId));
      if (planted !== undefined) {
        throw new KeywardenError('KW-GRANT-UNKNOWN', `in ${this.region} the grant ${planted.grantId} to ${planted.grantee ?? 'somebody'} appeared after the plan was signed`, { key: this.keyId, notDone: `nothing was done in ${this.region}`, next: `remove it (aws kms revoke-grant --region ${this.region} --key-id ${this.keyId} --grant-id ${planted.grantId}), then start again` });
      }
      this.drift(`a grant named in the plan is gone in ${this.region}`);
    }
  }

  private drift(what: string): never {
    throw new KeywardenError('KW-PLAN-DRIFT', what, { key: this.keyId, notDone: `nothing was done in ${this.region}`, next: 'look at the key, then have the plan as it is now signed' });
  }

  /** Down first: a key that is up (quarantined, or enabled by hand) is disabled before its policy changes. */
  async disableFirst(): Promise<void> {
    if ((await this.state()) !== 'Enabled') return;
    await effect(this.deps, this.by.e, this.facts('DisableKey', { before: 'the policy changes' }), () => this.kms.disable(this.keyId));
    await this.until('Disabled');
  }

  async cancelDeletion(): Promise<boolean> {
    const state = await this.state();
    if (state !== 'PendingDeletion' && state !== 'PendingReplicaDeletion') {
      await found(this.deps, this.by.e, this.facts('CancelKeyDeletion'));
      return false;
    }
    await effect(this.deps, this.by.e, this.facts('CancelKeyDeletion'), () => this.kms.cancelDeletion(this.keyId));
    await this.until('Disabled');
    return true;
  }

  /** Puts a policy on a key that is down. `policy` must be the text whose digest was signed. */
  async putPolicy(policy: string): Promise<void> {
    await this.until('Disabled');
    await this.changePolicy(policy);
  }

  /** Puts a policy on a key in use and reads it back. */
  async changePolicy(policy: string): Promise<void> {
    if (policyDigest(policy) !== this.expects.newPolicy) this.drift(`the policy to put in ${this.region} is not the one signed for`);
    const facts = this.facts('PutKeyPolicy', { policy: this.expects.newPolicy });
    if (policyDigest(await this.kms.policy(this.keyId)) === this.expects.newPolicy) await found(this.deps, this.by.e, facts);
    else await effect(this.deps, this.by.e, facts, () => this.kms.putPolicy(this.keyId, policy));
    await this.policyIsThere('the step is not over');
  }

  private async policyIsThere(notDone: string): Promise<void> {
    const end = Date.now() + 8_000;
    while (policyDigest(await this.kms.policy(this.keyId)) !== this.expects.newPolicy) {
      if (Date.now() > end) throw new KeywardenError('KW-NOT-YET', `the new policy cannot be read back in ${this.region} yet`, { key: this.keyId, notDone: `${notDone} in ${this.region}`, next: 'it is tried again' });
      await sleep(150);
    }
  }

  /**
   * Enables under the key's lease, when `mayStill` holds on the row as it is then (epoch, window): a revocation raises the epoch under the same row,
   * so nothing enables after it. Enables no Region whose disabled state was not seen.
   */
  async enable(mayStill: () => Promise<void>): Promise<string | undefined> {
    return this.deps.store.withKeyLease(this.keyId, { leaseMs: 15_000, waitMs: 3_000 }, async () => {
      await mayStill();
      const state = await this.state();
      if (state === 'Enabled') {
        await found(this.deps, this.by.e, this.facts('EnableKey')); // an earlier attempt's answer was lost, or nothing is left to do
        return undefined;
      }
      if (state !== 'Disabled') throw new KeywardenError('KW-NOT-YET', `the key is ${state} in ${this.region}`, { key: this.keyId, notDone: `the key was not enabled in ${this.region}`, next: 'it is tried again when the key is Disabled' });
      if (policyDigest(await this.kms.policy(this.keyId)) !== this.expects.newPolicy) this.drift(`the policy in ${this.region} is not the one signed for`);
      await this.checkUnchanged();
      const { requestId } = await effect(this.deps, this.by.e, this.facts('EnableKey'), () => this.kms.enable(this.keyId));
      return requestId;
    });
  }

  async scheduleDeletion(days: number): Promise<Date | undefined> {
    const metadata = await this.kms.describe(this.keyId);
    if (metadata === undefined) return undefined;
    if (metadata.KeyState === 'PendingDeletion' || metadata.KeyState === 'PendingReplicaDeletion') {
      await found(this.deps, this.by.e, this.facts('ScheduleKeyDeletion', { days }));
      return metadata.DeletionDate;
    }
    const out = await effect(this.deps, this.by.e, this.facts('ScheduleKeyDeletion', { days }), () => this.kms.scheduleDeletion(this.keyId, days));
    return out.deletionDate;
  }
}
