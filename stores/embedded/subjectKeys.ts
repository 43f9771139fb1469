import type { SubjectKey } from '../store';
import type { Connection } from './connection';
import type { Row } from './driver';
import { refuseErased } from './erasures';

const BY_SUBJECT = 'SELECT * FROM subject_key WHERE subject_id = ? AND purpose = ?';

/** The first stays: data may be encrypted under it already. */
export function putSubjectKey(connection: Connection, key: SubjectKey): Promise<SubjectKey> {
  return connection.transaction('storing the subject key', async (tx) => {
    await refuseErased(tx, key.subjectId);
    const [, kept = []] = await tx.run(
      [
        'INSERT INTO subject_key (subject_id, purpose, encrypted_key, key_id, key_arn, key_material_id, created_at) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING',
        [key.subjectId, key.purpose, key.encryptedKey, key.keyId, key.keyArn, key.keyMaterialId ?? null, key.createdAt],
      ],
      [BY_SUBJECT, [key.subjectId, key.purpose]],
    );
    return kept.map(toSubjectKey)[0] ?? key;
  });
}

export async function readSubjectKey(connection: Connection, subjectId: string, purpose: string): Promise<SubjectKey | undefined> {
  return (await connection.read('reading the subject key', BY_SUBJECT, [subjectId, purpose])).map(toSubjectKey)[0];
}

export async function countWrapped(connection: Connection, keyId: string): Promise<{ columnKeyValues: number; subjectKeys: number }> {
  const sql = 'SELECT (SELECT count(*) FROM subject_key WHERE key_id = ?) + (SELECT count(*) FROM subject_key WHERE previous_key_id = ?) AS subjects, (SELECT count(*) FROM column_key_value WHERE key_id = ?) AS ceks';
  const [row] = await connection.read('counting what the key wraps', sql, [keyId, keyId, keyId]);
  return { columnKeyValues: row?.['ceks'] as number, subjectKeys: row?.['subjects'] as number };
}

export function toSubjectKey(row: Row): SubjectKey {
  const material = row['key_material_id'];
  return {
    subjectId: row['subject_id'] as string,
    purpose: row['purpose'] as string,
    encryptedKey: row['encrypted_key'] as string,
    keyId: row['key_id'] as string,
    keyArn: row['key_arn'] as string,
    ...(material === null ? {} : { keyMaterialId: material as string }),
    createdAt: row['created_at'] as string,
    ...(row['state'] === 'erasing' ? { state: 'erasing' as const } : {}),
    ...(row['previous_key_id'] === null ? {} : { previous: previousOf(row) }),
  };
}

function previousOf(row: Row): NonNullable<SubjectKey['previous']> {
  const material = row['previous_key_material_id'];
  return {
    encryptedKey: row['previous_encrypted_key'] as string,
    keyId: row['previous_key_id'] as string,
    keyArn: row['previous_key_arn'] as string,
    ...(material === null ? {} : { keyMaterialId: material as string }),
  };
}
