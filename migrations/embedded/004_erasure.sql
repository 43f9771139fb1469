-- Erasure of one person's keys. Applied in one transaction by stores/embedded/migrate.ts.

-- The key of the hashes under which persons stand in workflows and audit rows. Made here, so that every backup from now on holds it.
CREATE TABLE subject_pepper (
  one    INTEGER PRIMARY KEY NOT NULL CHECK (one = 1),
  -- 64 hex digits
  pepper TEXT NOT NULL
) STRICT;
INSERT INTO subject_pepper (one, pepper) VALUES (1, lower(hex(randomblob(32))));
CREATE TRIGGER subject_pepper_is_not_changed BEFORE UPDATE ON subject_pepper
BEGIN SELECT RAISE(ABORT, 'every hash would become another'); END;
CREATE TRIGGER subject_pepper_is_kept BEFORE DELETE ON subject_pepper
BEGIN SELECT RAISE(ABORT, 'every hash would become another'); END;

-- One row for each person whose erasure was asked for: request, then tombstone. It is never deleted.
CREATE TABLE erasure (
  subject_hash TEXT PRIMARY KEY NOT NULL,
  -- raised by each change: an application asks for what is newer than it knows
  seq          INTEGER NOT NULL UNIQUE,
  -- in the clear until the person's keys are deleted, or restored
  subject_id   TEXT,
  state        TEXT NOT NULL CHECK (state IN ('requested', 'erasing', 'restored', 'deleted', 'proven')),
  document     TEXT NOT NULL
) STRICT;
CREATE TRIGGER erasure_is_kept BEFORE DELETE ON erasure
BEGIN SELECT RAISE(ABORT, 'a tombstone stays'); END;
