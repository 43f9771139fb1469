/** KeyMetadata, as DescribeKey, CreateKey and ReplicateKey answer it. */
import { stateAt, type Key } from './key-lookup';
import { specificationOf } from './key-specs';
import { DAY, epochSeconds, keyArn } from './model';
import type { KeyState } from './states';

export function keyMetadata(account: string, { arn, regional, shared }: Pick<Key, 'arn' | 'regional' | 'shared'>, now: number): object {
  const specification = specificationOf(shared.keySpec);
  const state = stateAt(regional, now);
  return {
    AWSAccountId: account,
    KeyId: shared.keyId,
    Arn: arn,
    CreationDate: epochSeconds(regional.createdAt),
    Enabled: state === 'Enabled',
    Description: regional.description,
    KeyUsage: shared.keyUsage,
    KeyState: state,
    ...(state === 'PendingDeletion' ? { DeletionDate: epochSeconds(regional.deletionDate!) } : {}),
    ...(state === 'PendingReplicaDeletion' ? { PendingDeletionWindowInDays: regional.pendingWindowInDays } : {}),
    Origin: shared.origin,
    ...(shared.origin === 'EXTERNAL' && state !== 'PendingImport' ? { ExpirationModel: 'KEY_MATERIAL_DOES_NOT_EXPIRE' } : {}),
    KeyManager: 'CUSTOMER',
    CustomerMasterKeySpec: shared.keySpec,
    KeySpec: shared.keySpec,
    ...(shared.keyUsage === 'ENCRYPT_DECRYPT' ? { EncryptionAlgorithms: specification.encryption } : {}),
    ...(shared.keyUsage === 'SIGN_VERIFY' ? { SigningAlgorithms: specification.signing } : {}),
    ...(shared.keyUsage === 'GENERATE_VERIFY_MAC' ? { MacAlgorithms: specification.mac } : {}),
    MultiRegion: shared.multiRegion,
    ...(shared.multiRegion ? { MultiRegionConfiguration: multiRegionConfiguration(account, { regional, shared }) } : {}),
    ...currentMaterialId(shared, state),
  };
}

/** Only symmetric keys have generations; a replica in the making does not name its material yet. */
function currentMaterialId(shared: Key['shared'], state: KeyState): object {
  const current = shared.materials.at(-1);
  return shared.keySpec !== 'SYMMETRIC_DEFAULT' || current === undefined || state === 'Creating' ? {} : { CurrentKeyMaterialId: current.id };
}

function multiRegionConfiguration(account: string, { regional, shared }: Pick<Key, 'regional' | 'shared'>): object {
  const named = (region: string) => ({ Arn: keyArn(account, region, shared.keyId), Region: region });
  return {
    MultiRegionKeyType: regional.region === shared.primaryRegion ? 'PRIMARY' : 'REPLICA',
    PrimaryKey: named(shared.primaryRegion),
    ReplicaKeys: shared.regions.filter((region) => region !== shared.primaryRegion).map(named),
  };
}

export const windowEnd = (from: number, days: number): number => from + days * DAY;
