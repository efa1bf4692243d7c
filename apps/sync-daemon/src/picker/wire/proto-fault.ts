/**
 * The faults of a message of a gateway. A gateway's bytes are foreign: a fault is a value of
 * the reader's answer, ends one stream, and counts under its code.
 */

/** What can be wrong with the bytes of a message. */
export type ProtoFaultCode =
  | "truncated"
  | "bad_varint"
  | "bad_field_number"
  | "bad_wire_type"
  | "wrong_wire_type"
  | "unmatched_group"
  | "too_deep";

/** One fault: what, and at which byte of the message. */
export interface ProtoFault {
  readonly code: ProtoFaultCode;
  readonly offset: number;
}

/** Carries a fault from the place where it is found to the codec's border, which returns it as a value. */
export class ProtoFaultError extends Error {
  readonly fault: ProtoFault;

  constructor(code: ProtoFaultCode, offset: number) {
    super(`${code} at byte ${offset}`);
    this.fault = { code, offset };
  }
}
