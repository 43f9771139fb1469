/**
 * An esbuild plugin: of the 1,300 types and 200 calls of Temporal's API, the bundle holds those that a client can use. Making the others
 * took 70 ms of each command.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { root, SOURCES } from './bundles.cjs';

const require = createRequire(join(root, 'package.json'));

export const usedProtos = {
  name: 'used-protos',
  setup(build) {
    build.onLoad({ filter: /@temporalio[\\/]proto[\\/]protos[\\/]json-module\.js$/ }, ({ path }) => {
      const json = JSON.stringify(JSON.stringify(used(require(path))));
      return { resolveDir: dirname(path), contents: `const { Root } = require('protobufjs/light'); module.exports = new Root().addJSON(JSON.parse(${json}));` };
    });
  },
};

/** What the code can name, and all that this is made of: a call or type that no code mentions is one that nothing asks for. */
function used(all) {
  const { Enum, Service, Type } = require('protobufjs/light');
  const code = mentioned();
  const kept = new Set();
  const keep = (o) => {
    if (o === null || kept.has(o)) return;
    kept.add(o);
    if (o.parent instanceof Type) keep(o.parent);
    if (o instanceof Type) for (const field of o.fieldsArray) keep(field.resolvedType);
  };
  const isCalled = (m) => code.includes(m.name[0].toLowerCase() + m.name.slice(1));
  all.resolveAll();
  for (const o of objects(all)) {
    if (o instanceof Service) for (const m of o.methodsArray.filter(isCalled)) for (const part of [m, m.resolvedRequestType, m.resolvedResponseType]) keep(part);
    else if (o instanceof Enum ? !(o.parent instanceof Type) : code.includes(o.fullName.slice(1))) keep(o);
  }
  const only = (o, json) => {
    if (json.methods !== undefined) json.methods = Object.fromEntries(Object.entries(json.methods).filter(([name]) => kept.has(o.methods[name])));
    for (const [name, inner] of Object.entries(json.nested ?? {})) if (!only(o.nested[name], inner)) delete json.nested[name];
    return kept.has(o) || o instanceof Service || Object.keys(json.nested ?? {}).length > 0;
  };
  const json = all.toJSON();
  only(all, json);
  return json.nested;
}

function* objects(namespace) {
  for (const o of namespace.nestedArray ?? []) {
    yield o;
    yield* objects(o);
  }
}

/** The text of the SDK's client and of all our own code. */
function mentioned() {
  const folders = [...['client', 'common'].map((name) => dirname(require.resolve(`@temporalio/${name}`))), ...SOURCES.map((name) => join(root, name))];
  const files = folders.flatMap((folder) => {
    try {
      return readdirSync(folder, { recursive: true }).map((name) => join(folder, name));
    } catch {
      return []; // a part of the sources that is not there mentions nothing
    }
  });
  return files.filter((path) => /(?<!\.d)\.[jt]s$/.test(path)).map((path) => readFileSync(path, 'utf8')).join('\n');
}
