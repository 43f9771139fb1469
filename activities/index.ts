import { ApplicationFailure } from '@temporalio/activity';
import type { Duty } from '../domain/names';
import { KeywardenError } from '../domain/errors';
import { alertActivity } from './alerts';
import { columnKeyActivities } from './columnKeys';
import { argumentOf, formsOf } from './arguments';
import { consumerActivities } from './consumers';
import type { Deps } from './deps';
import { oneColumnKeyActivities } from './oneColumnKey';
import { cutoverActivities } from './cutover';
import { dueActivities } from './dueKeys';
import { effectActivities } from './effectProof';
import { erasureActivities } from './erasure';
import { initializeActivities } from './initialization';
import type { RegionalKms } from './kms';
import { materialActivities } from './newMaterial';
import { Pacer } from './pacer';
import { recoveryActivities } from './recovery';
import { windowActivities } from './recoveryWindow';
import { revocationActivities } from './revocation';
import { replacementActivities } from './replacement';
import { replacementKeyActivities } from './replacementKeys';
import { rewrapActivities } from './rewrapping';
import { rotationActivities } from './rotation';
import { wideningActivities } from './widening';

type Activity = (argument: never) => Promise<unknown>;

/** The activities of one duty: what its queue answers to. A duty has no other's. */
export function activitiesOf(deps: Deps): Record<string, Activity> {
  const init = initializeActivities(deps);
  const pacers = new Map<string, Pacer>();
  const pacerOf = ({ region }: RegionalKms): Pacer => {
    const found = pacers.get(region) ?? new Pacer(deps.store, `kms/${deps.config.account}/${region}`, deps.config.rewrap);
    pacers.set(region, found);
    return found;
  };
  const byDuty: Record<Duty, Record<string, unknown>> = {
    routine: { findOwnKeys: init.findOwnKeys, makeCanary: init.makeCanary, ...dueActivities(deps), ...rotationActivities(deps), ...materialActivities(deps), ...columnKeyActivities(deps, pacerOf), ...oneColumnKeyActivities(deps), ...rewrapActivities(deps, pacerOf), ...replacementKeyActivities(deps, pacerOf), ...alertActivity(deps) },
    emergency: { ...revocationActivities(deps), ...windowActivities(deps), ...effectActivities(deps), ...consumerActivities(deps), ...alertActivity(deps) },
    recovery: { ...recoveryActivities(deps), ...wideningActivities(deps), ...replacementActivities(deps), ...cutoverActivities(deps), ...erasureActivities(deps), makeKey: init.makeKey, replicateKey: init.replicateKey, pointAlias: init.pointAlias, ...alertActivity(deps) },
  };
  const forms = formsOf(deps.config);
  return Object.fromEntries(Object.entries(byDuty[deps.duty]).map(([name, act]) => [name, withStableErrors((argument) => (act as Activity)(argumentOf(forms, name, argument) as never))]));
}

/** Errors cross to the workflow as failures whose type is the stable code; final ones are not retried. */
function withStableErrors(act: Activity): Activity {
  return async (argument) => {
    try {
      return await act(argument);
    } catch (error) {
      if (!(error instanceof KeywardenError)) throw error;
      throw ApplicationFailure.create({ message: error.message, type: error.code, nonRetryable: error.final, details: [error.toJSON()] });
    }
  };
}
