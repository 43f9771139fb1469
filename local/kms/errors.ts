/**
 * The errors that the service answers with. Source: the KMS API model and recorded answers.
 * Every client fault is HTTP 400, whatever the Smithy model in the SDK says; some carry no message at all.
 */
export class KmsError extends Error {
  constructor(readonly code: string, message = '', readonly status = 400) {
    super(message);
    this.name = code;
  }
}

const clientFault = (code: string) => (message = ''): KmsError => new KmsError(code, message);

export const accessDenied = clientFault('AccessDeniedException');
export const alreadyExists = clientFault('AlreadyExistsException');
export const conflict = clientFault('ConflictException');
export const disabled = clientFault('DisabledException');
export const incompatibleMaterial = clientFault('IncorrectKeyMaterialException');
export const invalidAliasName = clientFault('InvalidAliasNameException');
export const invalidGrantId = clientFault('InvalidGrantIdException');
export const invalidGrantToken = clientFault('InvalidGrantTokenException');
export const invalidKeyUsage = clientFault('InvalidKeyUsageException');
export const invalidMarker = clientFault('InvalidMarkerException');
export const invalidState = clientFault('KMSInvalidStateException');
export const limitExceeded = clientFault('LimitExceededException');
export const malformedPolicy = clientFault('MalformedPolicyDocumentException');
export const notFound = clientFault('NotFoundException');
export const serialization = clientFault('SerializationException');
export const tagFault = clientFault('TagException');
export const unsupported = clientFault('UnsupportedOperationException');
export const validation = clientFault('ValidationException');

/** A wrong context, a corrupt blob and a foreign blob look the same on purpose: an empty message. */
export const invalidCiphertext = (): KmsError => new KmsError('InvalidCiphertextException');
export const invalidMac = (): KmsError => new KmsError('KMSInvalidMacException');
export const invalidSignature = (): KmsError => new KmsError('KMSInvalidSignatureException');

export const incorrectKey = (): KmsError =>
  new KmsError('IncorrectKeyException', 'The key ID in the request does not identify a CMK that can perform this operation.');

export const dryRun = (): KmsError =>
  new KmsError('DryRunOperationException', 'The request would have succeeded, but the DryRun option is set.');

export const throttled = (): KmsError =>
  new KmsError('ThrottlingException', 'You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.');

export const keyNotFound = (arn: string): KmsError => notFound(`Key '${arn}' does not exist`);

/** Server faults: 500 for the service's own, 503 for a dependency or an overload. */
export const serverFault = (code: string, message: string, status: number): KmsError => new KmsError(code, message, status);
