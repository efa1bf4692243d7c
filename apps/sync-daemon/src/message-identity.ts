/** The identity of a message of a stream, which remains when its bytes are gone. */

/** Number, batch timestamp (Unix seconds) and payload length of a message. */
export interface MessageIdentity {
  readonly sequenceNumber: number;
  readonly timestampSeconds: number;
  readonly bytes: number;
}
