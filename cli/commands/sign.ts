import { KeywardenError } from '../../domain/errors';
import { eraseInput, parseInput, recoverInput, revokeInput, rotateInput } from '../../domain/inputs';
import { EXIT } from '../output';
import type { Register } from '../register';

interface Options {
  start?: string;
  input?: string;
  reject?: boolean;
  role?: string;
  yes?: boolean;
}

/** Prints the token for the Temporal UI: the plan goes to standard error, the token alone to standard output. */
export const register: Register = (program, run) => {
  program
    .command('sign <workflow>')
    .description('sign what a procedure waits for, or a start to come, and print the token')
    .option('--start <type>', 'sign a start to come: revokeKey, recoverKey, rotateKey or eraseSubject')
    .option('--input <json>', 'the input of that start')
    .option('--reject', 'sign a rejection')
    .option('--role <role>', 'role under which to sign')
    .option('--yes', 'do not ask')
    .action(
      run<[string, Options]>(async (ctx, workflowId, o) => {
        const { planForStart, planOfWorkflow, roleFor, showAndSign } = await import('../signing');
        const plan = o.start === undefined ? await planOfWorkflow(ctx, workflowId) : await planForStart(ctx, typeOf(o.start), inputFor(o), { workflowId });
        const token = await showAndSign(ctx, plan, { decision: o.reject === true ? 'reject' : 'approve', role: await roleFor(ctx, plan, o.role), yes: o.yes });
        ctx.out.result({ workflowId, proof: token }, token);
        ctx.out.note(`Good for 15 minutes, for this workflow only. ${o.start === undefined ? `In the UI: send the signal "${o.reject === true ? 'reject' : 'approve'}" with {"proof":"…"}.` : 'Give it as "proof" in the input of the start.'}`);
        return EXIT.done;
      }),
    );
};

function typeOf(start: string): 'revokeKey' | 'recoverKey' | 'rotateKey' | 'eraseSubject' {
  if (start === 'revokeKey' || start === 'recoverKey' || start === 'rotateKey' || start === 'eraseSubject') return start;
  throw new KeywardenError('KW-USAGE', `${start} takes no signature at its start`, { path: '--start', notDone: 'nothing was signed', next: 'choose revokeKey, recoverKey, rotateKey or eraseSubject' });
}

function inputFor(o: Options) {
  let raw: unknown;
  try {
    raw = JSON.parse(o.input ?? '');
  } catch (cause) {
    throw new KeywardenError('KW-USAGE', 'the input is not JSON', { path: '--input', notDone: 'nothing was signed', next: `give it as in --input '{"key":"user-data","reason":"…"}'`, cause });
  }
  if (o.start === 'eraseSubject') return parseInput(eraseInput, raw);
  return o.start === 'revokeKey' ? parseInput(revokeInput, raw) : o.start === 'rotateKey' ? parseInput(rotateInput, raw) : parseInput(recoverInput, raw);
}
