/** Every operation that the local KMS answers, by name. A new family is one file and one line here. */
import { aliasOperations } from './aliases';
import type { Operation } from './call';
import { dataKeyOperations } from './data-keys';
import { deletionOperations } from './deletion';
import { encryptionOperations } from './encryption';
import { grantOperations } from './grants';
import { keyOperations } from './keys';
import { lastUsageOperations } from './last-usage';
import { macOperations } from './mac';
import { materialImportOperations } from './material-import';
import { multiRegionOperations } from './multi-region';
import { policyOperations } from './policies';
import { rotationOperations } from './rotation';
import { signingOperations } from './signing';
import { tagOperations } from './tags';

const FAMILIES: readonly Operation[][] = [
  keyOperations, deletionOperations, encryptionOperations, dataKeyOperations, macOperations, signingOperations, rotationOperations, multiRegionOperations,
  aliasOperations, policyOperations, grantOperations, tagOperations, lastUsageOperations, materialImportOperations,
];

export const OPERATIONS: ReadonlyMap<string, Operation> = new Map(FAMILIES.flat().map((entry) => [entry.name, entry]));
