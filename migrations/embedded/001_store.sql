-- The store of one installation on a libsql file. Applied in one transaction by stores/embedded/migrate.ts.

-- One row for each CMK: its open procedure and its epoch. `document` is the KeyRow as JSON.
CREATE TABLE cmk (
  key_id   TEXT PRIMARY KEY NOT NULL,
  epoch    INTEGER NOT NULL,
  document TEXT NOT NULL
) STRICT;

-- A lower epoch would bring back to life what a revocation made lapse (rule 5).
CREATE TRIGGER cmk_epoch_never_falls BEFORE UPDATE ON cmk WHEN NEW.epoch < OLD.epoch
BEGIN SELECT RAISE(ABORT, 'the epoch of a key never falls'); END;
-- Each INSERT trigger below is there for INSERT OR REPLACE, which deletes without asking the DELETE trigger.
CREATE TRIGGER cmk_is_not_replaced BEFORE INSERT ON cmk WHEN EXISTS (SELECT 1 FROM cmk WHERE key_id = NEW.key_id AND epoch > NEW.epoch)
BEGIN SELECT RAISE(ABORT, 'the epoch of a key never falls'); END;
CREATE TRIGGER cmk_is_kept BEFORE DELETE ON cmk
BEGIN SELECT RAISE(ABORT, 'the row of a key is never deleted'); END;

-- Who may act on a key at the moment; `expires_at` in milliseconds since the epoch, by the wall clock that all processes here share.
CREATE TABLE key_lease (
  key_id     TEXT PRIMARY KEY NOT NULL,
  owner      TEXT NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT;

-- The audit trail. `entry` is the canonical JSON that the hash covers; what is searched is computed from it, so that no column
-- can say something else than the row that verifies.
CREATE TABLE audit (
  seq         INTEGER PRIMARY KEY NOT NULL,
  prev        TEXT NOT NULL,
  hash        TEXT NOT NULL,
  entry       TEXT NOT NULL,
  event_id    TEXT NOT NULL GENERATED ALWAYS AS (entry ->> '$.eventId') VIRTUAL,
  at          TEXT NOT NULL GENERATED ALWAYS AS (entry ->> '$.at') VIRTUAL,
  key_id      TEXT GENERATED ALWAYS AS (entry ->> '$.keyId') VIRTUAL,
  workflow_id TEXT GENERATED ALWAYS AS (entry ->> '$.workflowId') VIRTUAL,
  incident    TEXT GENERATED ALWAYS AS (entry ->> '$.incident') VIRTUAL
) STRICT;
CREATE UNIQUE INDEX audit_event ON audit (event_id);
CREATE INDEX audit_key ON audit (key_id, seq) WHERE key_id IS NOT NULL;
CREATE INDEX audit_workflow ON audit (workflow_id, seq) WHERE workflow_id IS NOT NULL;
CREATE INDEX audit_incident ON audit (incident, seq) WHERE incident IS NOT NULL;

-- Rule 10. Whoever owns the file can drop these; then the chain shows what was done.
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'audit rows are never changed'); END;
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'audit rows are never deleted'); END;

CREATE TRIGGER audit_grows_at_its_end BEFORE INSERT ON audit
WHEN NEW.seq <> coalesce((SELECT max(seq) FROM audit), 0) + 1
  OR NEW.prev <> coalesce((SELECT hash FROM audit ORDER BY seq DESC LIMIT 1), '0000000000000000000000000000000000000000000000000000000000000000')
  OR EXISTS (SELECT 1 FROM audit WHERE event_id = NEW.entry ->> '$.eventId')
BEGIN SELECT RAISE(ABORT, 'audit rows are only added, each linked to the last'); END;

-- Proofs that were used: each duty uses one up for itself, all of them for one workflow, first run and plan (rule 5).
CREATE TABLE proof_use (
  jti          TEXT NOT NULL,
  duty         TEXT NOT NULL,
  workflow_id  TEXT NOT NULL,
  first_run_id TEXT NOT NULL,
  plan_digest  TEXT NOT NULL,
  PRIMARY KEY (jti, duty)
) STRICT;
CREATE TRIGGER proof_use_is_not_changed BEFORE UPDATE ON proof_use
BEGIN SELECT RAISE(ABORT, 'a used proof stays used'); END;
CREATE TRIGGER proof_use_is_not_replaced BEFORE INSERT ON proof_use WHEN EXISTS (SELECT 1 FROM proof_use WHERE jti = NEW.jti AND duty = NEW.duty)
BEGIN SELECT RAISE(ABORT, 'a used proof stays used'); END;
CREATE TRIGGER proof_use_is_kept BEFORE DELETE ON proof_use
BEGIN SELECT RAISE(ABORT, 'a used proof stays used'); END;

-- Receipts. The MAC is part of the key: a row planted first under the same jti cannot keep the true one out.
CREATE TABLE receipt (
  id           INTEGER PRIMARY KEY NOT NULL,
  workflow_id  TEXT NOT NULL,
  first_run_id TEXT NOT NULL,
  duty         TEXT NOT NULL,
  jti          TEXT NOT NULL,
  mac          TEXT NOT NULL,
  document     TEXT NOT NULL,
  UNIQUE (workflow_id, first_run_id, duty, jti, mac)
) STRICT;

CREATE TABLE plan (
  digest   TEXT PRIMARY KEY NOT NULL,
  document TEXT NOT NULL
) STRICT;
CREATE TRIGGER plan_is_not_changed BEFORE UPDATE ON plan
BEGIN SELECT RAISE(ABORT, 'a plan is what its digest says'); END;

CREATE TRIGGER plan_is_not_replaced BEFORE INSERT ON plan WHEN EXISTS (SELECT 1 FROM plan WHERE digest = NEW.digest)
BEGIN SELECT RAISE(IGNORE); END;

-- Subject keys: ciphertext only.
CREATE TABLE subject_key (
  subject_id      TEXT NOT NULL,
  purpose         TEXT NOT NULL,
  encrypted_key   TEXT NOT NULL,
  key_id          TEXT NOT NULL,
  key_arn         TEXT NOT NULL,
  key_material_id TEXT,
  created_at      TEXT NOT NULL,
  PRIMARY KEY (subject_id, purpose)
) STRICT;
CREATE INDEX subject_key_cmk ON subject_key (key_id);
