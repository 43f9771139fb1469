import { beginErasing, deleteErased, rejectErasing, restoreErased, type ErasureRow } from '../../domain/erasure';

const mine = { workflowId: 'w', firstRunId: 'r' };
const other = { workflowId: 'v', firstRunId: 's' };
const [at, deadline, later] = ['2026-11-01T00:00:00.000Z', '2026-11-08T00:00:00.000Z', '2026-11-08T00:00:01.000Z'];
const requested: ErasureRow = { subjectHash: 'subject-1', subjectId: 'ada', state: 'requested', round: 1 };
const keys = [{ purpose: 'user-data', keyId: 'k' }];
const begun = beginErasing(requested, { procedure: mine, at, deadline, keys });

const codeOf = (act: () => unknown): string => {
  try {
    act();
    return 'nothing was thrown';
  } catch (error) {
    return (error as { code: string }).code;
  }
};

describe('the row of an erasure', () => {
  it('is taken by one procedure, once; by another only when the first was ended from outside', () => {
    expect(begun).toEqual({ ...requested, state: 'erasing', procedure: mine, erasingAt: at, deadline, keys });
    expect(beginErasing(begun, { procedure: mine, at: later, deadline: later, keys: [] })).toBe(begun);
    expect(codeOf(() => beginErasing(begun, { procedure: other, at, deadline, keys }))).toBe('KW-PROCEDURE-OPEN');
    expect(beginErasing(begun, { procedure: other, at: later, deadline: later, keys, abandoned: mine })).toMatchObject({ procedure: other, erasingAt: later });
  });

  it('cannot be taken where nobody asked for it', () => {
    expect(codeOf(() => beginErasing(undefined, { procedure: mine, at, deadline, keys }))).toBe('KW-SUBJECT-UNKNOWN');
    const { subjectId: _gone, ...ended } = restoreErased(begun, mine);
    expect(codeOf(() => beginErasing(ended, { procedure: mine, at, deadline, keys }))).toBe('KW-SUBJECT-UNKNOWN');
  });

  it('turns into a tombstone after the whole wait, for the procedure that holds it, and only once', () => {
    expect(codeOf(() => deleteErased(begun, mine, at))).toBe('KW-NOT-YET');
    expect(codeOf(() => deleteErased(begun, other, later))).toBe('KW-PREEMPTED');
    expect(codeOf(() => deleteErased(requested, mine, later))).toBe('KW-PREEMPTED');
    expect(codeOf(() => deleteErased(undefined, mine, later))).toBe('KW-PREEMPTED');
    const gone = deleteErased(begun, mine, later);
    expect(gone).toMatchObject({ state: 'deleted', deletedAt: later, erasingAt: at, keys });
    expect(deleteErased(gone, mine, '2027-01-01T00:00:00.000Z')).toBe(gone);
  });

  it('deletes nothing once a rejection is on record (rule 4)', () => {
    const rejected = rejectErasing(begun, mine, 'carol');
    expect(codeOf(() => deleteErased(rejected, mine, later))).toBe('KW-APPROVAL-MISSING');
    expect(rejectErasing(begun, other, 'carol')).toBe(begun);
    expect(restoreErased(rejected, mine)).toEqual({ ...requested, state: 'restored', procedure: mine });
  });
});
