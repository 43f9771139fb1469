#!/usr/bin/env node
/**
 * A small application that keeps its users' telephone numbers encrypted, each under that user's own key.
 *
 *   keywarden dev                    in one terminal, then once: keywarden init
 *   node examples/profiles.mjs       in another; [DATA] names the folder of the stack, default .keywarden
 *
 *   curl -X PUT  --data 555-0142 localhost:PORT/users/ada/phone
 *   curl localhost:PORT/users/ada/phone
 *
 * Revoke the key (keywarden revoke user-data …): within five seconds the answer is 503 KW-KEY-REVOKED; recover it, and the number is back.
 */
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { KMSClient } from '@aws-sdk/client-kms';
import client from '../dist/client.js';

const { KeyManagementService, openStore } = client;

const data = process.argv[2] ?? '.keywarden';
if (!existsSync(join(data, 'stack.json'))) throw new Error(`no development stack in ${data}: start one with bin/keywarden dev`);
const read = (name) => JSON.parse(readFileSync(join(data, name), 'utf8'));
const [stack, config, credentials] = [read('stack.json'), read('keywarden.config.json'), read('credentials.json').application];

const store = await openStore(stack.database);
// in production: no endpoint, and credentials from the process's own role
const kms = config.regions.map((region) => new KMSClient({ region, endpoint: stack.kms, credentials }));
const keys = new KeyManagementService({ store, kms, config: { purposes: ['user-data'], ...config }, encryption: { purposes: ['user-data'], name: 'profiles' } });

/** What a database would hold: ciphertext only. */
const table = new Map();

async function answer(method, subjectId, field, body) {
  const of = { subjectId, field };
  if (method === 'PUT') {
    await keys.initializeUserEncryption(subjectId);
    table.set(`${subjectId} ${field}`, await keys.encrypt(of, body));
    return [204, ''];
  }
  const stored = table.get(`${subjectId} ${field}`);
  return stored === undefined ? [404, 'nothing is stored\n'] : [200, `${await keys.decrypt(of, stored)}\n`];
}

const server = createServer(async (request, response) => {
  const [, users, subjectId, field] = request.url.split('/');
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const [status, text] = users !== 'users' ? [404, ''] : await answer(request.method, subjectId, field, Buffer.concat(chunks)).catch((e) => [e.code === 'KW-INPUT' ? 400 : 503, `${e.code}\n`]);
  response.writeHead(status).end(text);
});
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}/users/NAME/FIELD`));

async function stop() {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await keys.close(); // zeroes the keys; a revocation need not wait for this process
  await store.close();
  process.exit(0);
}
process.on('SIGINT', stop).on('SIGTERM', stop);
