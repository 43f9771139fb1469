// every export here is a workflow type; nothing else may be exported
export { eraseSubject } from './eraseSubject';
export { initializeKeys } from './initializeKeys';
export { recoverKey } from './recoverKey';
export { revokeKey } from './revokeKey';
export { rotateColumnEncryptionKey } from './rotateColumnEncryptionKey';
export { rotateDueKeys } from './rotateDueKeys';
export { rotateKey } from './rotateKey';
