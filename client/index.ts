export { KeyManagementService, type KeyManagementOptions, type StartedProcedure } from './keyManagementService';
export { KeywardenError, type ErrorCode } from '../domain/errors';
export type { RecoverInput, RevokeInput } from '../domain/inputs';
export type { ProcedureStatus } from '../domain/status';
