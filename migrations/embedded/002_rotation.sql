-- What a rotation works on. Applied in one transaction by stores/embedded/migrate.ts.

-- `erasing`: the subject's data is being destroyed; the key is no longer given out.
ALTER TABLE subject_key ADD COLUMN state TEXT NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'erasing'));

-- The order in which a re-wrap walks: what is done leaves its place, so no page reads over it. Rows of unknown material come first.
DROP INDEX subject_key_cmk;
ALTER TABLE subject_key ADD COLUMN material TEXT NOT NULL GENERATED ALWAYS AS (coalesce(key_material_id, '')) VIRTUAL;
CREATE INDEX subject_key_place ON subject_key (key_id, material, purpose, subject_id);

-- Wrapped keys that do not open, as they were when that was found: a row whose ciphertext has changed since is tried again.
CREATE TABLE set_aside (
  key_id        TEXT NOT NULL,
  kind          TEXT NOT NULL CHECK (kind IN ('subject', 'cek')),
  purpose       TEXT NOT NULL,
  id            TEXT NOT NULL,
  encrypted_key TEXT NOT NULL,
  code          TEXT NOT NULL,
  at            TEXT NOT NULL,
  workflow_id   TEXT NOT NULL,
  PRIMARY KEY (key_id, kind, purpose, id)
) STRICT, WITHOUT ROWID;

-- Column encryption keys: in SQL Server its own catalog (sys.column_encryption_keys and the views around it) holds them.
CREATE TABLE column_master_key (
  name         TEXT PRIMARY KEY NOT NULL,
  provider     TEXT NOT NULL,
  -- the ARN of the CMK
  path         TEXT NOT NULL
) STRICT;
CREATE TABLE column_key (
  name    TEXT PRIMARY KEY NOT NULL,
  purpose TEXT NOT NULL
) STRICT;
CREATE TABLE column_key_value (
  column_key TEXT NOT NULL REFERENCES column_key (name),
  master_key TEXT NOT NULL REFERENCES column_master_key (name),
  -- base64 of the envelope of docs/column-keys.md
  value      TEXT NOT NULL,
  key_id     TEXT NOT NULL,
  PRIMARY KEY (column_key, master_key)
) STRICT;
CREATE INDEX column_key_value_cmk ON column_key_value (key_id, column_key);
-- SQL Server holds a CEK to the same two.
CREATE TRIGGER column_key_has_two_values_at_most BEFORE INSERT ON column_key_value
WHEN (SELECT count(*) FROM column_key_value WHERE column_key = NEW.column_key) >= 2
BEGIN SELECT RAISE(ABORT, 'a column encryption key has two encrypted values at most'); END;
-- The catalog has no ALTER VALUE: a value is added and dropped, never overwritten.
CREATE TRIGGER column_key_value_is_not_changed BEFORE UPDATE ON column_key_value
BEGIN SELECT RAISE(ABORT, 'an encrypted value is added and dropped, never changed'); END;

-- The rate of KMS requests that all workers share (domain/pacing.ts).
CREATE TABLE request_bucket (
  name      TEXT PRIMARY KEY NOT NULL,
  document  TEXT NOT NULL
) STRICT;
