export { KeyManagementService, type KeyManagementOptions, type StartedProcedure } from './keyManagementService';
export { KeywardenError, type ErrorCode } from '../domain/errors';
export type { RecoverInput, RevokeInput } from '../domain/inputs';
export type { ProcedureStatus } from '../domain/status';
export type { FieldOf, SubjectEncryptionOptions } from './subjectEncryption';
export type { CacheBounds } from './dataKeyCache';
export { openStore } from '../stores/open';
