/** Everything that a peer's connection brought, in a list, with the error at its end. */
import { copyFrames } from "../frame-copy.ts";
import { ZmtpError } from "../zmtp-error.ts";
import type { ZmtpLimits } from "../zmtp-limits.ts";
import { ZmtpPeer } from "../zmtp-peer.ts";
import type { ZmtpSocketType } from "../frame-writer.ts";
import { within } from "./time-limit.ts";

/** Bytes of a text in hex. */
export function bytesOf(hex: string): Uint8Array {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

/** The hex of bytes. */
export function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Everything that one connection brought so far. */
export interface Recording {
  /** In order: `ready`, `pong …`, messages as their parts' hex, and the error's text. */
  readonly happened: readonly string[];
  /** Those that were lent are copies. */
  readonly messages: readonly Uint8Array[][];
  /** Of each message, whether it was lent. */
  readonly lent: readonly boolean[];
  /** All that our side sent. */
  readonly sent: string;
  readonly error: ZmtpError | null;
  readonly peer: ZmtpPeer;
}

/** As {@link recordUnbounded} does, within two seconds. */
export function record(...args: Parameters<typeof recordUnbounded>): Recording {
  return within(2000, () => recordUnbounded(...args));
}

/**
 * Feeds chunks to a fresh peer, up to its error. The time limit is the caller's.
 *
 * @param chunks - copies are fed, and overwritten after they were read, as a reused buffer is.
 */
export function recordUnbounded(
  chunks: readonly Uint8Array[],
  type: ZmtpSocketType = "SUB",
  limits: ZmtpLimits = { messageBytes: 1024, messageParts: 8 },
  topic: string | null = type === "SUB" ? "" : null,
): Recording {
  const happened: string[] = [];
  const messages: Uint8Array[][] = [];
  const lent: boolean[] = [];
  let sent = "";
  const peer = new ZmtpPeer(
    { type, topic, limits },
    {
      send: (bytes) => (sent += hexOf(bytes)),
      pong: (bytes) => {
        sent += hexOf(bytes);
        happened.push(`pong ${hexOf(bytes)}`);
      },
      ready: () => happened.push("ready"),
      message: (frames, areLent) => {
        messages.push(areLent ? copyFrames(frames) : frames);
        lent.push(areLent);
        happened.push(`message ${messages.length - 1}`);
      },
    },
  );
  sent = hexOf(peer.opening);
  let error: ZmtpError | null = null;
  try {
    for (const chunk of chunks) {
      const reused = Uint8Array.from(chunk);
      peer.receive(reused);
      reused.fill(0xee);
    }
  } catch (thrown) {
    if (!(thrown instanceof ZmtpError)) throw thrown;
    error = thrown;
    happened.push(thrown.message);
  }
  return {
    // Read at the end, so that frames that were given away and share the chunk would be seen to have changed.
    happened: happened.map((line) => {
      const found = /^message (\d+)$/.exec(line);
      return found === null ? line : messages[Number(found[1])].map(hexOf).join("|");
    }),
    messages,
    lent,
    get sent() {
      return sent;
    },
    error,
    peer,
  };
}
