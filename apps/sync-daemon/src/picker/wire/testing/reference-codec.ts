/**
 * Protobufjs over our own reading of the protocol (ext-proc.proto): the codec's independent check.
 */
import { readFileSync } from "node:fs";

import protobuf from "protobufjs";

const { root } = protobuf.parse(readFileSync(new URL("ext-proc.proto", import.meta.url), "utf8"));

/** Names of messages that the reference knows. */
export type ReferenceType =
  | "ProcessingRequest"
  | "ProcessingResponse"
  | "HealthCheckRequest"
  | "HealthCheckResponse";

/** Encodes a plain object. */
export function referenceEncode(type: ReferenceType, value: Record<string, unknown>): Uint8Array {
  const message = root.lookupType(`test.${type}`);
  return message.encode(message.fromObject(value)).finish();
}

/** Decodes to a plain object; absent fields are absent, bytes are base64 text. */
export function referenceDecode(type: ReferenceType, bytes: Uint8Array): Record<string, unknown> {
  const message = root.lookupType(`test.${type}`);
  return message.toObject(message.decode(bytes), { bytes: String, defaults: false });
}
