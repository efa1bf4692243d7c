/**
 * Asks an engine's replay socket for its history and reports the range, holes and speed of the
 * answer. A daemon can repair gaps only as far back as this history reaches.
 */

import type { ReplayFailure } from "@kvsync/core";

import type { Transport } from "../transport/transport.ts";
import { readReplay, WHY_NO_REPLAY } from "./replay-reading.ts";
import { type Terminal, whole } from "./terminal.ts";
import { ToolError } from "./tool-error.ts";

/** What came back. */
export interface ReplayReport {
  readonly endpoint: string;
  readonly from: number;
  readonly messages: number;
  readonly bytes: number;
  readonly first_sequence_number: number | null;
  readonly last_sequence_number: number | null;
  /** Numbers that are missing between the first and the last, also when asked for again. */
  readonly holes: number;
  /** How often something was lost on the way and asked for again: the reader, or the network, is slower than the engine. */
  readonly asked_again: number;
  readonly unreadable: number;
  /** Whether the end marker came; without it the engine fell silent in the middle. */
  readonly has_end: boolean;
  readonly seconds: number;
  /** Null when it ended well. */
  readonly failure: ReplayFailure | null;
}

/**
 * Asks for history.
 *
 * @param endpoint - the replay socket.
 * @param from - first sequence number wanted.
 * @param idleSeconds - silence after which to give up.
 * @param transport - closed at the end.
 * @returns what came, also when the engine fell silent on the way.
 */
export async function replayProbe(
  endpoint: string,
  from: number,
  idleSeconds: number,
  transport: Transport,
): Promise<ReplayReport> {
  const beganMs = performance.now();
  const silenceMs = idleSeconds * 1000;
  const read = await readReplay(transport, endpoint, {
    from,
    patience: { firstMs: silenceMs, nextMs: silenceMs },
    messagesMax: Infinity,
    message: () => undefined,
  });
  transport.close();
  return {
    endpoint,
    from,
    messages: read.messages,
    bytes: read.bytes,
    first_sequence_number: read.first,
    last_sequence_number: read.last,
    holes: read.holes,
    asked_again: read.askedAgain,
    unreadable: [...read.unreadable.values()].reduce((sum, count) => sum + count, 0),
    has_end: read.failure === null,
    seconds: Math.round(performance.now() - beganMs) / 1000,
    failure: read.failure,
  };
}

/**
 * Prints a report.
 *
 * @param report - from `replayProbe`.
 * @param isJson - one JSON object instead of lines for people.
 * @param terminal - where to.
 * @throws ToolError no_answer, when nothing came at all.
 */
export function printReplay(report: ReplayReport, isJson: boolean, terminal: Terminal): void {
  if (isJson) terminal.json(report);
  const {
    endpoint,
    from,
    messages,
    bytes,
    first_sequence_number: first,
    last_sequence_number: last,
  } = report;
  if (messages === 0 && report.failure !== null) {
    throw new ToolError(
      { code: "no_answer", endpoint, seconds: report.seconds },
      `${endpoint}: no answer to a replay request (${report.failure}) within ${report.seconds} s; ${WHY_NO_REPLAY[report.failure]}`,
    );
  }
  if (isJson) return;
  if (messages === 0) {
    terminal.line(`${endpoint}: nothing from ${from} on; the engine answers and has no history there`);
    return;
  }
  const speed = report.seconds > 0 ? `, ${whole(messages / report.seconds)} messages/s` : "";
  terminal.line(
    `${endpoint}: ${whole(messages)} messages, ${first} to ${last}, ${whole(bytes)} bytes${speed}`,
  );
  terminal.line(
    `  holes ${whole(report.holes)}, asked again ${whole(report.asked_again)} times, unreadable ${whole(report.unreadable)}, end marker ${report.has_end ? "seen" : `missing (${report.failure ?? ""})`}`,
  );
  if (first !== null && first > from)
    terminal.line(`  history begins at ${first}: earlier messages cannot be replayed`);
}
