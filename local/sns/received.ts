import { closeSync, existsSync, fsyncSync, ftruncateSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** A message as it arrived at the subscriber. */
export interface ReceivedMessage {
  /** When it was stored, ISO 8601. */
  at: string;
  topicArn: string;
  messageId: string;
  subject: string | null;
  message: string;
  /** Message attributes, name to value. */
  attributes: Record<string, string>;
}

export interface ReceivedFile {
  /** Returns when the messages are on the disk. */
  append(messages: ReceivedMessage[]): void;
  close(): void;
}

export function receivedPath(dataDir: string): string {
  return join(dataDir, 'sns', 'received.jsonl');
}

/** Everything that ever arrived in this data folder, oldest first. */
export function readReceived(dataDir: string): ReceivedMessage[] {
  const path = receivedPath(dataDir);
  if (!existsSync(path)) return [];
  const text = readFileSync(path, 'utf8');
  return wholeLines(text).split('\n').filter((l) => l !== '').map((l) => JSON.parse(l) as ReceivedMessage);
}

export function openReceived(dataDir: string): ReceivedFile {
  const path = receivedPath(dataDir);
  mkdirSync(dirname(path), { recursive: true });
  const file = openSync(path, 'a+', 0o600);
  // half a line from a killed process: its publisher was never answered and sends again
  ftruncateSync(file, Buffer.byteLength(wholeLines(readFileSync(path, 'utf8'))));
  return {
    append(messages) {
      writeSync(file, messages.map((m) => `${JSON.stringify(m)}\n`).join(''));
      fsyncSync(file);
    },
    close: () => closeSync(file),
  };
}

function wholeLines(text: string): string {
  return text.slice(0, text.lastIndexOf('\n') + 1);
}
