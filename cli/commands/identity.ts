import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { KeywardenError } from '../../domain/errors';
import { parseConfig } from '../../domain/config';
import { ROLES, type Role } from '../../domain/names';
import { EXIT } from '../output';
import type { Register } from '../register';

export const register: Register = (program, run) => {
  const identity = program.command('identity').description('local identities (development)');
  identity
    .command('add <name>')
    .description('make a key for a person and list the person in the configuration')
    .requiredOption('--role <role...>', ROLES.join(', '))
    .action(
      run<[string, { role: string[] }]>(async (ctx, name, { role }) => {
        const wrong = role.find((r) => !(ROLES as readonly string[]).includes(r));
        if (wrong !== undefined) throw new KeywardenError('KW-USAGE', `no role ${wrong}`, { path: '--role', notDone: 'no identity was made', next: `choose from ${ROLES.join(', ')}` });
        if (!/^[a-z0-9][a-z0-9-]{0,62}$/.test(name)) throw new KeywardenError('KW-USAGE', 'lower-case letters, digits and dashes', { path: 'NAME', notDone: 'no identity was made', next: 'choose such a name' });
        const { identitiesDir, makeIdentity } = await import('../../local/demo/identities');
        const path = process.env['KEYWARDEN_CONFIG'] ?? 'keywarden.config.json';
        const raw = JSON.parse(readFileSync(path, 'utf8')) as { people?: { name: string; roles: Role[]; identities: { verifier: 'local'; publicKey: object }[] }[] };
        const { publicKey, made } = await makeIdentity(identitiesDir(), name);
        const people = raw.people ?? [];
        const person = people.find((p) => p.name === name);
        if (person === undefined) people.push({ name, roles: role as Role[], identities: [{ verifier: 'local', publicKey }] });
        else {
          person.roles = [...new Set([...person.roles, ...(role as Role[])])];
          if (!person.identities.some((i) => (i.publicKey as { x: string }).x === publicKey.x)) person.identities.push({ verifier: 'local', publicKey });
        }
        raw.people = people;
        parseConfig(raw, { kmsEndpoint: process.env['AWS_ENDPOINT_URL_KMS'] });
        writeFileSync(`${path}.new`, `${JSON.stringify(raw, null, 2)}\n`, { mode: 0o600 });
        renameSync(`${path}.new`, path);
        ctx.out.result({ name, roles: (person ?? people[people.length - 1])!.roles, publicKey, made }, `${name}: ${made ? 'key made' : 'key found'}, listed with ${(person ?? people[people.length - 1])!.roles.join(', ')} in ${path}`, 'Workers read the configuration at their start: restart them for it to count.');
        return EXIT.done;
      }),
    );
  identity
    .command('list')
    .description('people of the configuration, their roles, and whose key is on this machine')
    .action(
      run<[object]>(async (ctx) => {
        const { existsSync } = await import('node:fs');
        const { join } = await import('node:path');
        const { identitiesDir } = await import('../../local/demo/identities');
        const people = (await ctx.config()).people.map((p) => ({ name: p.name, roles: p.roles, keyHere: existsSync(join(identitiesDir(), `${p.name}.json`)) }));
        ctx.out.result({ people }, ...people.map((p) => `${p.name.padEnd(12)} ${p.roles.join(', ')}${p.keyHere ? '' : '  (no private key on this machine)'}`));
        return EXIT.done;
      }),
    );
};
