import { PublishCommand } from '@aws-sdk/client-sns';
import { subjectOf, textOf, type AlertFacts } from '../domain/alert';
import { KeywardenError } from '../domain/errors';
import type { Deps } from './deps';
import { here } from './execution';

/**
 * One message to security: text for a phone, and a structured twin for machines. At least once; a repeat carries the same event id.
 * @throws KW-SNS
 */
export async function publishAlert(deps: Pick<Deps, 'config' | 'sns'>, alert: AlertFacts, by: { workflowId: string; runId: string }): Promise<{ eventId: string; messageId: string }> {
  const { config } = deps;
  const eventId = [by.workflowId, by.runId, alert.kind, alert.occasion ?? ''].join('/');
  const where = { application: config.application, environment: config.environment, eventId, workflowId: by.workflowId };
  const text = textOf(alert, where);
  const twin = JSON.stringify({ keywarden: 1, eventId, application: config.application, environment: config.environment, workflowId: by.workflowId, ...alert });
  try {
    const { MessageId } = await deps.sns.send(
      new PublishCommand({
        TopicArn: config.alerts.topicArn,
        Subject: subjectOf(alert, where),
        // people's protocols get the text, machines' the twin (SNS API, Publish, MessageStructure)
        MessageStructure: 'json',
        Message: JSON.stringify({ default: text, email: text, sms: text.slice(0, 1_000), sqs: twin, lambda: twin, http: twin, https: twin, 'email-json': twin }),
        MessageAttributes: {
          eventId: { DataType: 'String', StringValue: eventId },
          kind: { DataType: 'String', StringValue: alert.kind },
          text: { DataType: 'String', StringValue: text },
        },
      }),
    );
    return { eventId, messageId: MessageId ?? '' };
  } catch (cause) {
    throw new KeywardenError('KW-SNS', `SNS did not take "${alert.kind}": ${cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause)}`, { notDone: 'security was not told', next: 'it is tried again; tell security yourself meanwhile', cause });
  }
}

export function alertActivity(deps: Deps): { alert(a: AlertFacts): Promise<{ eventId: string; messageId: string }> } {
  return { alert: (a) => publishAlert(deps, a, here()) };
}
