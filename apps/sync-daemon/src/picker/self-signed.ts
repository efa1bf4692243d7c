/**
 * A certificate that is signed by its own key, made at start: gateways want TLS and do not check whose it is.
 *
 *     P-256 key ─▶ DER of RFC 5280, by hand ─▶ ECDSA with SHA-256 ─▶ PEM
 *
 *  X1  Node reads it, the key belongs to it, and it is valid for ten years under the host's name (self-signed.test.ts "X1").
 *
 * Node has no maker of certificates. A library for one structure of fixed form would bring a dozen packages into the
 * daemon; it is written here and never read. Source: RFC 5280, X.690.
 */

import { generateKeyPairSync, randomBytes, sign } from "node:crypto";

/** PEM texts. */
export interface SelfSigned {
  readonly cert: string;
  readonly key: string;
}

/** Tags of X.690. */
const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bits: 0x03,
  octets: 0x04,
  utf8: 0x0c,
  utcTime: 0x17,
  time: 0x18,
  sequence: 0x30,
  set: 0x31,
  version: 0xa0,
  extensions: 0xa3,
  dnsName: 0x82,
};
/** Object identifiers, encoded. */
const OID = {
  ecdsaSha256: Buffer.from("06082a8648ce3d040302", "hex"),
  commonName: Buffer.from("0603550403", "hex"),
  alternativeName: Buffer.from("0603551d11", "hex"),
};
const YEARS = 10;
/** Longest common name of RFC 5280; the alternative name has all of it. */
const COMMON_NAME_MAX = 64;
const LINE = 64;

/**
 * Makes a key and its certificate.
 *
 * @param hostName - that it is for.
 * @param nowMs - since the Unix epoch; it is valid from a day before on.
 * @returns both; another one at each call.
 */
export function selfSigned(hostName: string, nowMs: number): SelfSigned {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const algorithm = der(TAG.sequence, OID.ecdsaSha256);
  const commonName = der(TAG.utf8, Buffer.from(hostName.slice(0, COMMON_NAME_MAX)));
  const name = der(TAG.sequence, der(TAG.set, der(TAG.sequence, OID.commonName, commonName)));
  const from = new Date(nowMs - 86_400_000);
  const to = new Date(nowMs);
  to.setUTCFullYear(to.getUTCFullYear() + YEARS);
  const names = der(TAG.sequence, der(TAG.dnsName, Buffer.from(hostName)));
  const extension = der(TAG.sequence, OID.alternativeName, der(TAG.octets, names));
  const serial = randomBytes(16);
  // Positive, and not zero.
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  const content = der(
    TAG.sequence,
    der(TAG.version, der(TAG.integer, Buffer.of(2))),
    der(TAG.integer, serial),
    algorithm,
    name,
    der(TAG.sequence, time(from), time(to)),
    name,
    publicKey.export({ type: "spki", format: "der" }),
    der(TAG.extensions, der(TAG.sequence, extension)),
  );
  const signature = der(TAG.bits, Buffer.of(0), sign("sha256", content, privateKey));
  return {
    cert: pem("CERTIFICATE", der(TAG.sequence, content, algorithm, signature)),
    key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
  };
}

/** One element: tag, length, content. */
function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const head =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >>> 8, length & 0xff];
  return Buffer.concat([Buffer.of(tag, ...head), content]);
}

/** With two digits of the year until 2049, as RFC 5280 has it. */
function time(date: Date): Buffer {
  const text = date.toISOString().replaceAll(/[-:T]|\.\d+/g, "");
  return date.getUTCFullYear() < 2050
    ? der(TAG.utcTime, Buffer.from(text.slice(2)))
    : der(TAG.time, Buffer.from(text));
}

function pem(label: string, content: Buffer): string {
  const lines = content.toString("base64").match(new RegExp(`.{1,${LINE}}`, "g")) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ""].join("\n");
}
