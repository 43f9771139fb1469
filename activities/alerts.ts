import { PublishCommand } from '@aws-sdk/client-sns';
import { publishInput, type AlertFacts } from '../domain/alert';
import { KeywardenError } from '../domain/errors';
import type { Deps } from './deps';
import { here } from './execution';

/** Tells security, at least once; a repeat carries the same event id. The text is made here from the facts, never by a workflow. */
export function alertActivity(deps: Deps): { alert(a: AlertFacts): Promise<{ eventId: string; messageId: string }> } {
  return {
    async alert(a) {
      const { application, environment, alerts } = deps.config;
      const { eventId, input } = publishInput(a, { topicArn: alerts.topicArn, application, environment, ...here() });
      try {
        const { MessageId } = await deps.sns.send(new PublishCommand(input));
        return { eventId, messageId: MessageId ?? '' };
      } catch (cause) {
        throw new KeywardenError('KW-SNS', `SNS did not take "${a.kind}": ${cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause)}`, { notDone: 'security was not told', next: 'it is tried again; tell security yourself meanwhile', cause });
      }
    },
  };
}
