import { FAUXQS_ACCOUNT, type Fauxqs } from './fauxqs';
import type { ReceivedFile, ReceivedMessage } from './received';

const QUEUE = 'keywarden-received';

/** What an SQS subscription gets for each message (docs: "Amazon SNS message and JSON formats"). */
interface Envelope {
  MessageId: string;
  TopicArn: string;
  Subject: string | null;
  Message: string;
  MessageAttributes?: Record<string, { Type: string; Value: string }>;
}

/**
 * The subscriber: takes what SNS put into its queue, stores it, then deletes it from the queue. `drain` is called
 * after each request, before its answer goes out: what SNS accepted is on the disk.
 */
export async function subscribe(o: { fauxqs: Fauxqs; topicArns: string[]; region: string; account: string; file: ReceivedFile }): Promise<{ drain(): Promise<void> }> {
  const { QueueUrl } = await o.fauxqs.sqs<{ QueueUrl: string }>('CreateQueue', { QueueName: QUEUE });
  for (const TopicArn of o.topicArns) {
    await o.fauxqs.sns('Subscribe', { TopicArn, Protocol: 'sqs', Endpoint: `arn:aws:sqs:${o.region}:${FAUXQS_ACCOUNT}:${QUEUE}` });
  }
  const toReceived = (body: string): ReceivedMessage => {
    const e = JSON.parse(body) as Envelope;
    const attributes = Object.fromEntries(Object.entries(e.MessageAttributes ?? {}).map(([name, a]) => [name, a.Value]));
    const topicArn = e.TopicArn.replace(`:${FAUXQS_ACCOUNT}:`, `:${o.account}:`);
    return { at: new Date().toISOString(), topicArn, messageId: e.MessageId, subject: e.Subject, message: e.Message, attributes };
  };
  const drainAll = async () => {
    for (;;) {
      const { Messages: messages = [] } = await o.fauxqs.sqs<{ Messages?: { Body: string; ReceiptHandle: string }[] }>('ReceiveMessage', {
        QueueUrl,
        MaxNumberOfMessages: 10,
        VisibilityTimeout: 30,
      });
      if (messages.length === 0) return;
      o.file.append(messages.map((m) => toReceived(m.Body)));
      for (const m of messages) await o.fauxqs.sqs('DeleteMessage', { QueueUrl, ReceiptHandle: m.ReceiptHandle });
    }
  };
  let last: Promise<void> = Promise.resolve();
  return {
    drain() {
      // one at a time, each after the last, whether or not that one worked
      last = last.then(drainAll, drainAll);
      return last;
    },
  };
}
