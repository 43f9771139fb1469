import type { InitializedKey } from '../domain/activities';
import { initializeInput, parseInput, type InitializeInput } from '../domain/inputs';
import { INITIALIZE_STEPS } from '../domain/steps';
import { making, routine } from './duties';
import { asProcedure, Procedure } from './procedure';

export interface InitializeResult {
  keys: InitializedKey[];
  ownKeys: string[];
}

type Step = (typeof INITIALIZE_STEPS)[number]['name'];

/** Makes or finds the CMK of each purpose, in every Region, under its alias, with its canary. Started again, it finds what is there. */
export async function initializeKeys(raw: InitializeInput = {}): Promise<InitializeResult> {
  return asProcedure(async () => {
    const p = new Procedure<Step>('Initialize keys', INITIALIZE_STEPS);
    const input = parseInput(initializeInput, raw);
    p.phase('finding keys');
    const own = await p.step('own-keys', () => routine.findOwnKeys.executeWithOptions({ summary: "find Keywarden's own keys" }, []), (o) => `${o.keys.length} found`);
    const purposes = input.purposes ?? own.purposes;
    p.becomeSearchable(purposes.join(','), own.searchable);
    p.phase('making keys');
    // CreateKey and CreateAlias are limited to 5 a second for the account: one purpose after the other
    const keys = await p.step('create', async () => {
      const made: InitializedKey[] = [];
      for (const purpose of purposes) made.push(await making.makeKey.executeWithOptions({ summary: `make or find the CMK of ${purpose}` }, [{ purpose, input }]));
      return made;
    }, (made) => made.map((k) => `${k.purpose} ${k.made ? 'made' : 'found'}`).join(', '));
    await p.step('replicate', () => each(purposes, own.regions.slice(1), (purpose, region) => making.replicateKey.executeWithOptions({ summary: `replicate ${purpose} to ${region}` }, [{ purpose, region }])));
    await p.step('alias', () => each(purposes, own.regions, (purpose, region) => making.pointAlias.executeWithOptions({ summary: `alias of ${purpose} in ${region}` }, [{ purpose, region }])));
    await p.step('canary', () => each(purposes, ['all'], (purpose) => routine.makeCanary.executeWithOptions({ summary: `canary of ${purpose}` }, [{ purpose }])));
    await p.step('schedule', () => routine.makeSchedule.executeWithOptions({ summary: 'make or find the daily schedule of rotations' }, []), (s) => (s.state === 'unsupported' ? 'this Temporal server has no Schedules' : `${s.id} ${s.state}`));
    p.outcome('initialized');
    return { keys, ownKeys: own.keys };
  });
}

async function each(purposes: readonly string[], regions: readonly string[], act: (purpose: string, region: string) => Promise<unknown>): Promise<void> {
  for (const purpose of purposes) for (const region of regions) await act(purpose, region);
}
