/**
 * Reads an engine's history as a daemon does. A ROUTER drops messages for a reader that falls
 * behind, the end marker included. Lost messages are asked for again from the first hole. So a
 * message that is still missing in the end is missing in the history itself.
 *
 *   ask from n ─▶ n, n+1, … hole or silence ─▶ ask from there ─▶ … ─▶ END, or nothing new
 */

import { parseReplayFrames, type ReplayFailure, WireError } from "@kvsync/core";

import type { ReplayPatience, Transport } from "../transport/transport.ts";

/** Requests in a row that bring nothing new before the rest counts as missing. */
const FRUITLESS_MAX = 2;

const REPLAY_PORT = "is it the replay port, and is the engine's replay_endpoint set?";

/** What to look at when no answer comes, by what happened. */
export const WHY_NO_REPLAY: Readonly<Record<ReplayFailure, string>> = {
  idle: `the connection stands and nothing comes; is the engine's process frozen? Otherwise: ${REPLAY_PORT}`,
  silent: REPLAY_PORT,
  unreachable: `nothing can be reached there; is the engine up? Then ${REPLAY_PORT}`,
  refused: "there is no room for the request",
  violation: `another program than a replay socket answers; ${REPLAY_PORT}`,
};

/** How a history is read. */
export interface ReplayReading {
  readonly from: number;
  readonly patience: ReplayPatience;
  /** Messages after which enough was seen; Infinity for all. */
  readonly messagesMax: number;
  /** Each message, once, in order. */
  readonly message: (sequenceNumber: number, payload: Uint8Array) => void;
}

/** What a history is like. */
export interface HistoryRead {
  readonly first: number | null;
  readonly last: number | null;
  readonly messages: number;
  readonly bytes: number;
  /** Numbers missing between the first and the last, also when asked for again. */
  readonly holes: number;
  /** Requests that were sent because something was lost on the way. */
  readonly askedAgain: number;
  /** What could not be parsed, by code. */
  readonly unreadable: ReadonlyMap<string, number>;
  /** Whether reading ended because enough was seen. */
  readonly isCut: boolean;
  /** Why the last request failed; null when it ended well. */
  readonly failure: ReplayFailure | null;
}

/** How one request ended. */
type Ending =
  | { readonly kind: "hole" | "enough" }
  | { readonly kind: "end"; readonly failure: ReplayFailure | null };

/**
 * Reads.
 *
 * @param transport - not closed.
 * @param endpoint - the replay socket.
 * @param reading - what is wanted.
 * @returns what came.
 */
export async function readReplay(
  transport: Transport,
  endpoint: string,
  reading: ReplayReading,
): Promise<HistoryRead> {
  const reader = new Reader(reading);
  let fruitless = 0;
  let askedAgain = 0;
  for (;;) {
    const before = reader.messages;
    const ending = await reader.ask(transport, endpoint, fruitless < FRUITLESS_MAX);
    const result = { ...reader.result(), askedAgain };
    if (ending.kind === "enough") return { ...result, isCut: true, failure: null };
    fruitless = reader.messages > before ? 0 : fruitless + 1;
    if (ending.kind === "end") {
      const isOver = ending.failure === null || reader.messages === 0 || fruitless > FRUITLESS_MAX;
      if (isOver) return { ...result, isCut: false, failure: ending.failure };
    }
    askedAgain += 1;
  }
}

/** What was read so far. */
class Reader {
  readonly #reading: ReplayReading;
  readonly #unreadable = new Map<string, number>();
  #next: number;
  #first: number | null = null;
  #last: number | null = null;
  #bytes = 0;
  #holes = 0;
  /** Messages of the present request. */
  #heard = 0;
  messages = 0;

  constructor(reading: ReplayReading) {
    this.#reading = reading;
    this.#next = reading.from;
  }

  /** One request, from where reading stands. A hole ends it, unless it is the one at its beginning and cannot be filled any more. */
  ask(transport: Transport, endpoint: string, mayFill: boolean): Promise<Ending> {
    this.#heard = 0;
    return new Promise((resolve) => {
      const request = transport.requestReplay(endpoint, this.#next, this.#reading.patience, {
        message: (frames) => {
          const stop = this.#take(frames, mayFill);
          if (stop === null) return;
          request.close();
          resolve({ kind: stop });
        },
        ended: (failure) => {
          resolve({ kind: "end", failure });
        },
      });
    });
  }

  #take(frames: readonly Uint8Array[], mayFill: boolean): "hole" | "enough" | null {
    try {
      const reply = parseReplayFrames(frames);
      if (reply.kind === "end" || reply.sequenceNumber < this.#next) return null;
      const { sequenceNumber, payload } = reply;
      const missing = this.#last === null ? 0 : sequenceNumber - this.#next;
      if (missing > 0 && (mayFill || this.#heard > 0)) return "hole";
      this.#holes += missing;
      this.#first ??= sequenceNumber;
      this.#last = sequenceNumber;
      this.#next = sequenceNumber + 1;
      this.#bytes += payload.byteLength;
      this.#heard += 1;
      this.messages += 1;
      this.#reading.message(sequenceNumber, payload);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#unreadable.set(error.code, (this.#unreadable.get(error.code) ?? 0) + 1);
    }
    return this.messages >= this.#reading.messagesMax ? "enough" : null;
  }

  result(): Omit<HistoryRead, "askedAgain" | "isCut" | "failure"> {
    return {
      first: this.#first,
      last: this.#last,
      messages: this.messages,
      bytes: this.#bytes,
      holes: this.#holes,
      unreadable: this.#unreadable,
    };
  }
}
