/** The checker itself: a healthy world has no violation, and each breach of a rule is found and named. */
import { KMSClient, EnableKeyCommand } from '@aws-sdk/client-kms';
import { readFileSync } from 'node:fs';
import { link } from '../../domain/auditChain';
import { demoFiles } from '../../local/demo/files';
import { recovered, revoked, signWidening } from '../faults/acts';
import { gather, judge, type Evidence } from './invariants';
import { erasing, seconds } from '../procedures/erasing';
import { addSubjects, subjectId } from '../procedures/wrapped';
import { createWorld, REGIONS, type World } from './world';

const purposes = ['a', 'b', 'c', 'user-data'];

describe('the invariant checker', () => {
  let world: World;
  let evidence: Evidence;
  const secret = Buffer.from('a plaintext data key of 32 bytes');

  beforeAll(async () => {
    world = await createWorld({ config: { purposes, erasure: { waitDays: seconds(1) } } });
    await world.initialize();
    await revoked(world, { key: 'a' });
    await recovered(world, 'a');
    const input = { key: 'b', mode: 'quarantine' as const };
    const id = await revoked(world, input);
    await signWidening(world, id, input);
    await world.stepsDone(id, 'quarantine');
    await revoked(world, { key: 'c' });
    await addSubjects(world, 'user-data', 0, 1);
    const { handle } = await erasing(world, subjectId(0));
    await world.stepsDone(handle.workflowId, 'delete');
    evidence = await gather(world, { secrets: [secret] });
  });
  afterAll(() => world.stop());

  const copy = (): Evidence => ({ ...evidence, changes: structuredClone(evidence.changes), rows: structuredClone(evidence.rows), keys: structuredClone(evidence.keys), kms: structuredClone(evidence.kms), receipts: structuredClone(evidence.receipts), histories: [...evidence.histories], texts: { ...evidence.texts }, wrapped: { ...evidence.wrapped }, plans: new Map(evidence.plans) });
  const keyOf = (purpose: string): string => evidence.keys.find((k) => k.purpose === purpose)!.keyId;

  it('has something to judge', () => {
    const changes = evidence.changes.map((c) => c.operation);
    for (const operation of ['CreateKey', 'ReplicateKey', 'CreateAlias', 'DisableKey', 'EnableKey', 'PutKeyPolicy']) expect(changes).toContain(operation);
    expect(evidence.receipts.filter((r) => r.genuine).length).toBeGreaterThanOrEqual(6);
    expect(evidence.histories.map((h) => h.type).sort()).toEqual(['eraseSubject', 'initializeKeys', 'recoverKey', 'revokeKey', 'revokeKey', 'revokeKey']);
  });

  it('finds nothing in a healthy world', () => {
    expect(judge(evidence)).toEqual([]);
  });

  type Breach = [string, RegExp, (e: Evidence) => void];
  const breaches: Breach[] = [
    ['a key pending deletion that still wraps', /^rule 1: 3 subject keys/, (e) => { e.wrapped[keyOf('c')] = 3; e.kms[keyOf('c')]!['us-east-1']!.state = 'PendingDeletion'; }],
    ['a first task that schedules more than the disabling', /^rule 2: the first workflow task/, (e) => {
      const i = e.histories.findIndex((h) => h.type === 'revokeKey');
      const h = e.histories[i]!;
      const first = h.events.find((x) => x.activityTaskScheduledEventAttributes)!;
      const at = h.events.indexOf(first);
      e.histories[i] = { ...h, events: [...h.events.slice(0, at), first, { ...first, activityTaskScheduledEventAttributes: { ...first.activityTaskScheduledEventAttributes, activityType: { name: 'alert' } } }, ...h.events.slice(at + 1)] };
    }],
    ['an alert before the disabling', /^rule 2: .* before its first disabling/, (e) => { e.rows.find((r) => r.entry.action === 'OpenRecoveryWindow')!.entry.at = '2020-01-01T00:00:00.000Z'; }],
    ['an enabling without an intended row', /^rule 3: no intended row before EnableKey/, (e) => { e.rows = e.rows.filter((r) => !(r.entry.action === 'EnableKey' && r.entry.phase === 'intended')); }],
    ['an intended row that came after its effect', /^rule 3: no intended row before PutKeyPolicy/, (e) => { for (const r of e.rows) if (r.entry.action === 'PutKeyPolicy' && r.entry.phase === 'intended') r.entry.at = '2099-01-01T00:00:00.000Z'; }],
    ['an effect without a done row', /^rule 3: no done row/, (e) => { e.rows = e.rows.filter((r) => !(r.entry.action === 'EnableKey' && r.entry.phase === 'done')); }],
    ['a done row that KMS knows nothing of', /^rule 3: .* that KMS never saw/, (e) => { e.rows.find((r) => r.entry.action === 'EnableKey' && r.entry.phase === 'done')!.entry.requestId = 'invented'; }],
    ['one receipt too few', /^rule 4: EnableKey .* was signed by 1 person/, (e) => { const i = e.receipts.findIndex((r) => r.receipt.person === 'carol' && r.receipt.duty === 'recovery' && !r.receipt.keyId.startsWith('subject-')); e.receipts.splice(i, 1); }],
    ['a receipt whose MAC does not fit', /^rule 4: .* was signed by 1 person/, (e) => { for (const r of e.receipts) if (r.receipt.person === 'bob') r.genuine = false; }],
    ['the same person twice', /^rule 4: .* was signed by 1 person/, (e) => { for (const r of e.receipts) if (r.receipt.person === 'carol') r.receipt.person = 'bob'; }],
    ['an act after a rejection', /^rule 4: .* rejected it/, (e) => { const r = e.receipts.find((x) => x.receipt.duty === 'recovery')!; e.receipts.push({ genuine: true, receipt: { ...r.receipt, person: 'dave', decision: 'reject', jti: 'another-jti-of-dave' } }); }],
    ['an enabling after the window', /^rule 4: EnableKey .* after the window's end/, (e) => { for (const r of e.rows) if (r.entry.action === 'OpenRecoveryWindow') r.entry.detail = { ...r.entry.detail, deadline: '2020-01-01T00:00:00.000Z' }; }],
    ['an enabling without a window', /^rule 4: EnableKey .* no window was open/, (e) => { e.rows = e.rows.filter((r) => r.entry.action !== 'OpenRecoveryWindow'); }],
    ['an enabling under an older epoch', /^rule 5: EnableKey .* under epoch/, (e) => { for (const r of e.rows) if (r.entry.action === 'OpenRecoveryWindow') r.entry.detail = { ...r.entry.detail, epoch: 99 }; }],
    ['a proof counted twice', /^rule 5: the proof .* was counted 2 times/, (e) => { e.receipts.push(e.receipts.find((r) => r.genuine)!); }],
    ['an event written twice', /^rule 6: 2 rows of the event/, (e) => { e.rows.push(e.rows[3]!); }],
    ['a plaintext in a history', /^rule 7: the history of .* holds secret/, (e) => { const name = Object.keys(e.texts)[0]!; e.texts[name] = `${e.texts[name]!} ${secret.toString('base64')}`; }],
    ['a private key in the log', /^rule 7: the log holds secret/, (e) => { e.texts['the log'] = `signed with ${(JSON.parse(readFileSync(`${demoFiles(world.dataDir).identities}/alice.json`, 'utf8')) as { d: string }).d}`; }],
    ['an own key that is down', /^rule 9: /, (e) => { e.ownKeys['alias/keywarden/checkpoint'] = 'Disabled'; }],
    ['a deletion of keys without an intended row', /^rule 3: no intended row before the deletion of/, (e) => { e.rows = e.rows.filter((r) => !(r.entry.action === 'DeleteSubjectKeys' && r.entry.phase === 'intended')); }],
    ['a deletion of keys that one person signed', /^rule 4: the deletion of .* was signed by 1 person/, (e) => { for (const r of e.receipts) if (r.receipt.keyId.startsWith('subject-')) r.receipt.person = 'bob'; }],
    ['a deletion of keys after a rejection', /^rule 4: the deletion of .* rejected it/, (e) => { const r = e.receipts.find((x) => x.receipt.keyId.startsWith('subject-'))!; e.receipts.push({ genuine: true, receipt: { ...r.receipt, person: 'dave', decision: 'reject', jti: 'a-third-jti-of-dave' } }); }],
    ['a deletion of keys before its time', /^erasure: the deletion of .* before its waiting time/, (e) => { for (const r of e.rows) if (r.entry.action === 'WithholdSubjectKeys') r.entry.detail = { deadline: '2999-01-01T00:00:00.000Z' }; }],
    ['a second window', /^window: .* opened a second window/, (e) => { const r = e.rows.find((x) => x.entry.action === 'OpenRecoveryWindow' && x.entry.keyId === keyOf('c'))!; e.rows.push(link(e.rows.at(-1), { ...r.entry, eventId: 'second', workflowId: 'another', at: new Date(Date.parse(r.entry.at) + 1).toISOString() })); }],
    ['a revoked key that is up', /^window: .* is Enabled in us-west-2 although its window is open/, (e) => { e.kms[keyOf('c')]!['us-west-2']!.state = 'Enabled'; }],
    ['a Region that a recovery left in quarantine', /^window: .* under the quarantine policy, its window ended as recovered/, (e) => { e.kms[keyOf('a')]!['us-east-1']!.policy = e.kms[keyOf('b')]!['us-east-1']!.policy!; }],
    ['a quarantined key under another policy', /^window: .* is Enabled in us-east-1 although/, (e) => { e.kms[keyOf('b')]!['us-east-1']!.policy = '{}'; }],
  ];
  it.each(breaches)('finds %s', (_what, named, breach) => {
    const broken = copy();
    breach(broken);
    expect(judge(broken)).toEqual(expect.arrayContaining([expect.stringMatching(named)]));
  });

  it('finds, in the world itself, an enabling that the recovery role made on its own, and a row changed in the chain', async () => {
    const credentials = (JSON.parse(readFileSync(demoFiles(world.dataDir).credentials, 'utf8')) as Record<string, { accessKeyId: string; secretAccessKey: string }>)['recovery']!;
    const kms = new KMSClient({ region: REGIONS[0], endpoint: world.kms.url, credentials });
    await kms.send(new EnableKeyCommand({ KeyId: keyOf('c') }));
    kms.destroy();
    const found = judge({ ...(await gather(world)), chain: { bad: { seq: 3, why: 'its content was changed' } } });
    expect(found).toEqual(expect.arrayContaining([expect.stringMatching(/^rule 3: no (intended|done) row .*EnableKey/), expect.stringMatching(/^window: .* is Enabled in us-east-1/), 'rule 10: row 3: its content was changed']));
  });
});
