import { KeywardenError } from '../domain/errors';

/** The promise's outcome, or `KW-STORE` after `ms`. What is given up goes on unseen: it must be safe to do again. */
export async function within<T>(ms: number, what: string, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new KeywardenError('KW-STORE', `${what}: no answer within ${ms} ms`, { notDone: `${what} may not have been done`, next: 'call again, which is safe' })), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
    promise.catch(() => undefined);
  }
}
