-- A CMK that takes another's place. Applied in one transaction by stores/embedded/migrate.ts.

-- The same key under the CMK that is being replaced, until that is final: what a roll-back puts back, and what an application falls back to.
ALTER TABLE subject_key ADD COLUMN previous_encrypted_key TEXT;
ALTER TABLE subject_key ADD COLUMN previous_key_id TEXT;
ALTER TABLE subject_key ADD COLUMN previous_key_arn TEXT;
ALTER TABLE subject_key ADD COLUMN previous_key_material_id TEXT;
CREATE INDEX subject_key_previous ON subject_key (previous_key_id, key_id) WHERE previous_key_id IS NOT NULL;

-- Applications are asked to open the canary of a CMK that is being introduced.
ALTER TABLE cmk ADD COLUMN introduced INTEGER GENERATED ALWAYS AS (coalesce(document ->> '$.replaces.phase', '') IN ('overlap', 'sign-off')) VIRTUAL;
DROP INDEX cmk_mark;
CREATE INDEX cmk_mark ON cmk (purpose, key_id, epoch, revoked, introduced);
ALTER TABLE consumer_ack ADD COLUMN opened INTEGER NOT NULL DEFAULT 0;
