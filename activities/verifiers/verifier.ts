import type { ApprovalClaims } from '../../domain/approval';
import type { Config } from '../../domain/config';

/** A way to prove who signed. A further kind (AWS, OIDC) is one new file and one line in ./index. */
export interface Verifier {
  readonly kind: string;
  /** Whether a token is of this verifier's form; cheap, no I/O. */
  takes(token: string): boolean;
  /**
   * Verifies the signature and says whose it is by configuration.
   * @throws KW-APPROVAL-FORM, KW-APPROVAL-NOBODY, KW-APPROVAL-SIGNATURE
   */
  verify(token: string, config: Config): Promise<{ person: string; claims: ApprovalClaims }>;
}
