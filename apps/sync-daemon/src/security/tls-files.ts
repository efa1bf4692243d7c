/**
 * Checks the files of HTTPS before a server gets them. OpenSSL would refuse most broken files too,
 * but without the file's name. It would accept a file of authorities that contains none, and then
 * refuse every client.
 */

import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";

const CERTIFICATE =
  /-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----[^-]+-----END (?:TRUSTED |X509 )?CERTIFICATE-----/g;

/** A file as it was read. */
export interface PemFile {
  readonly path: string;
  readonly content: Buffer;
}

/**
 * Checks that files can serve HTTPS together.
 *
 * @param chain - the server's certificate, then those that signed it.
 * @param key - of the certificate.
 * @param authorities - of client certificates; null for none.
 * @returns the server's certificate.
 * @throws Error whose message names the file and what was expected, and nothing of a key.
 */
export function checkTlsFiles(chain: PemFile, key: PemFile, authorities: PemFile | null): X509Certificate {
  const certificate = certificateOf(chain);
  if (!certificate.checkPrivateKey(keyOf(key))) throw new Error(notItsKey(chain, key));
  if (authorities !== null) certificateOf(authorities);
  return certificate;
}

/**
 * What is said of a key that belongs to another certificate.
 *
 * @param chain - the server's certificate.
 * @param key - that is not its key.
 * @returns one sentence.
 */
export function notItsKey(chain: PemFile, key: PemFile): string {
  return `${key.path}: expected the key of the first certificate in ${chain.path}, not another's`;
}

/**
 * The first of a file's certificates, all of which can be read.
 *
 * @param file - in PEM.
 * @returns the certificate.
 * @throws Error whose message names the file and what was expected.
 */
export function certificateOf({ path, content }: PemFile): X509Certificate {
  const blocks = content.toString("latin1").match(CERTIFICATE) ?? [];
  const certificates = blocks.map((block, i) => {
    try {
      return new X509Certificate(block);
    } catch (error) {
      throw new Error(
        `${path}: its certificate ${i + 1} of ${blocks.length} cannot be read (${messageOf(error)})`,
        {
          cause: error,
        },
      );
    }
  });
  const [first] = certificates;
  if (first === undefined) throw new Error(`${path}: expected at least one certificate in PEM`);
  return first;
}

/**
 * A private key.
 *
 * @param file - in PEM.
 * @returns the key.
 * @throws Error whose message names the file and what was expected, and nothing of the key.
 */
export function keyOf({ path, content }: PemFile): KeyObject {
  try {
    return createPrivateKey(content);
  } catch (error) {
    // Not as the cause: nothing that came near the key is handed on.
    throw new Error(`${path}: expected a private key in PEM, without a passphrase (${messageOf(error)})`);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
