-- Applications that hold plaintext data keys: what they read of the CMKs, and what they have acknowledged.

-- An application looks every few seconds: it reads these from the index alone, never from a document.
ALTER TABLE cmk ADD COLUMN purpose TEXT GENERATED ALWAYS AS (document ->> '$.purpose') VIRTUAL;
ALTER TABLE cmk ADD COLUMN revoked INTEGER GENERATED ALWAYS AS ((document ->> '$.window.revokedAt') IS NOT NULL AND coalesce(document ->> '$.window.outcome', '') <> 'recovered') VIRTUAL;
CREATE INDEX cmk_mark ON cmk (purpose, key_id, epoch, revoked);

-- One row for each process that may hold plaintext data keys. Times in milliseconds since the epoch, by the clock of the database.
CREATE TABLE consumer (
  consumer_id      TEXT PRIMARY KEY NOT NULL,
  -- a JSON array
  purposes         TEXT NOT NULL,
  -- the longest that it can hold a plaintext key which it cannot confirm
  drains_within_ms INTEGER NOT NULL,
  last_seen        INTEGER NOT NULL
) STRICT;

-- The epoch of a CMK at which a consumer had dropped its plaintext keys under it.
CREATE TABLE consumer_ack (
  consumer_id     TEXT NOT NULL,
  key_id          TEXT NOT NULL,
  epoch           INTEGER NOT NULL,
  acknowledged_at INTEGER NOT NULL,
  PRIMARY KEY (consumer_id, key_id)
) STRICT;
CREATE TRIGGER consumer_ack_goes_with_its_consumer AFTER DELETE ON consumer
BEGIN DELETE FROM consumer_ack WHERE consumer_id = OLD.consumer_id; END;
