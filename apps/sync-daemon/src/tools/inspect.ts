/**
 * Watches one engine's stream: every message decoded, gaps and restarts marked, rates at the end. It asks for no replay and
 * keeps no index, so it shows what the engine sends, not what a daemon would make of it.
 *
 *   Transport ──frames──▶ StreamInspector ──▶ one line (or JSON object) a message ──▶ summary
 *
 * Never shown: token ids, cache salts, extra keys' contents.
 */

import { parseLiveFrames, topicText, WireError } from "@kvsync/core";

import type { ConnectionEnd, Frames, Transport } from "../transport/transport.ts";
import {
  type BatchDescription,
  BatchDescriber,
  type EventDescription,
  eventText,
} from "./batch-description.ts";
import { isoTime, type Line, type Terminal, whole } from "./terminal.ts";
import { ToolError } from "./tool-error.ts";

/** Wait before dialling again after a connection was lost. */
const REDIAL_MS = 1000;
/** Distinct block sizes, media, topics … remembered for the summary. */
const VALUES_MAX = 32;

/** What to watch, how long, and how to show it. */
export interface InspectOptions {
  readonly endpoint: string;
  /** Prefix of the topics wanted; empty for all. */
  readonly topic: string;
  /** Ends after so many messages; null for never. */
  readonly count: number | null;
  /** Ends after so long; null for never. */
  readonly seconds: number | null;
  readonly isJson: boolean;
  readonly showsHashes: boolean;
}

/** What was seen, added up. */
export interface StreamSummary {
  readonly endpoint: string;
  readonly seconds: number;
  readonly messages: number;
  readonly messages_per_second: number;
  readonly first_sequence_number: number | null;
  readonly last_sequence_number: number | null;
  readonly gaps: number;
  readonly missed_messages: number;
  /** Sequence numbers that went back: duplicates, or the engine restarted. */
  readonly regressions: number;
  readonly connections_lost: number;
  readonly events: Readonly<Record<EventDescription["type"], number>>;
  readonly blocks_stored: number;
  readonly blocks_removed: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly forms: readonly string[];
  readonly topics: readonly string[];
  readonly block_sizes: readonly number[];
  readonly media: readonly string[];
  readonly groups: readonly string[];
}

/** One message as shown. */
interface MessageReport {
  readonly topic: string;
  readonly sequence_number: number;
  /** Messages missing before this one; negative when the number went back. */
  readonly missed: number;
  readonly bytes: number;
  readonly batch: BatchDescription;
}

/** Adds a stream up, message by message. No I/O. */
class StreamInspector {
  readonly #describer: BatchDescriber;
  readonly #forms = new Set<string>();
  readonly #topics = new Set<string>();
  readonly #blockSizes = new Set<number>();
  readonly #media = new Set<string>();
  readonly #groups = new Set<string>();
  readonly #faults: Record<string, number> = {};
  readonly #events = { BlockStored: 0, BlockRemoved: 0, AllBlocksCleared: 0 };
  #messages = 0;
  #first: number | null = null;
  #last: number | null = null;
  #gaps = 0;
  #missed = 0;
  #regressions = 0;
  #connectionsLost = 0;
  #blocksStored = 0;
  #blocksRemoved = 0;

  /** @param showsHashes - whether events carry engine block hashes. */
  constructor(showsHashes: boolean) {
    this.#describer = new BatchDescriber(showsHashes);
  }

  /** Messages taken so far, unreadable ones included. */
  get messages(): number {
    return this.#messages;
  }

  /**
   * Takes a message.
   *
   * @param frames - as received.
   * @returns what it says; a text when its frames are no message.
   */
  take(frames: Frames): MessageReport | string {
    this.#messages += 1;
    let message: ReturnType<typeof parseLiveFrames>;
    try {
      message = parseLiveFrames(frames);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#countFault(error.code);
      return error.message;
    }
    const { sequenceNumber, payload } = message;
    const topic = topicText(message.topic);
    const missed = this.#last === null ? 0 : sequenceNumber - this.#last - 1;
    if (missed > 0) {
      this.#gaps += 1;
      this.#missed += missed;
    } else if (missed < 0) this.#regressions += 1;
    this.#first ??= sequenceNumber;
    this.#last = sequenceNumber;
    const batch = this.#describer.describe(payload);
    this.#add(topic, batch);
    return { topic, sequence_number: sequenceNumber, missed, bytes: payload.byteLength, batch };
  }

  /** Notes that the connection was lost. */
  lost(): void {
    this.#connectionsLost += 1;
  }

  /**
   * Everything so far.
   *
   * @param endpoint - watched.
   * @param seconds - for how long.
   */
  summary(endpoint: string, seconds: number): StreamSummary {
    return {
      endpoint,
      seconds: Math.round(seconds * 1000) / 1000,
      messages: this.#messages,
      messages_per_second: seconds > 0 ? Math.round((this.#messages / seconds) * 10) / 10 : 0,
      first_sequence_number: this.#first,
      last_sequence_number: this.#last,
      gaps: this.#gaps,
      missed_messages: this.#missed,
      regressions: this.#regressions,
      connections_lost: this.#connectionsLost,
      events: { ...this.#events },
      blocks_stored: this.#blocksStored,
      blocks_removed: this.#blocksRemoved,
      faults: { ...this.#faults },
      forms: [...this.#forms],
      topics: [...this.#topics],
      block_sizes: [...this.#blockSizes].sort((one, other) => one - other),
      media: [...this.#media],
      groups: [...this.#groups],
    };
  }

  #add(topic: string, { form, events, faults }: BatchDescription): void {
    remember(this.#topics, topic);
    if (form !== "none") remember(this.#forms, form);
    for (const fault of faults) this.#countFault(fault.code);
    for (const event of events) {
      this.#events[event.type] += 1;
      if (event.type === "BlockStored") this.#blocksStored += event.blocks ?? 0;
      if (event.type === "BlockRemoved") this.#blocksRemoved += event.blocks ?? 0;
      if (event.block_size !== undefined) remember(this.#blockSizes, event.block_size);
      if (event.medium !== undefined) remember(this.#media, event.medium);
      if (event.group !== undefined) remember(this.#groups, `${event.group} ${event.kind ?? ""}`.trim());
    }
  }

  #countFault(code: string): void {
    this.#faults[code] = (this.#faults[code] ?? 0) + 1;
  }
}

function remember<Value>(values: Set<Value>, value: Value): void {
  if (values.size < VALUES_MAX) values.add(value);
}

/**
 * Watches until the count, the time or the signal ends it, then prints the summary.
 *
 * @param options - what to watch.
 * @param transport - closed at the end.
 * @param terminal - lines to its output, notes to its errors.
 * @param signal - ends the watch like the time does.
 * @returns the summary.
 * @throws ToolError unreachable, when the first connection never came to be.
 */
export async function inspect(
  options: InspectOptions,
  transport: Transport,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<StreamSummary> {
  const inspector = new StreamInspector(options.showsHashes);
  const beganMs = performance.now();
  try {
    await watch(options, transport, inspector, terminal, signal);
  } finally {
    transport.close();
  }
  const summary = inspector.summary(options.endpoint, (performance.now() - beganMs) / 1000);
  if (options.isJson) terminal.json({ summary });
  else for (const line of summaryText(summary)) terminal.line(line);
  return summary;
}

function watch(
  { endpoint, topic, count, seconds, isJson }: InspectOptions,
  transport: Transport,
  inspector: StreamInspector,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const timers = new Set<NodeJS.Timeout>();
    let wasConnected = false;
    const settle = (finish: () => void): void => {
      for (const timer of timers) clearTimeout(timer);
      signal.removeEventListener("abort", done);
      finish();
    };
    const done = (): void => {
      settle(resolve);
    };
    const after = (ms: number, run: () => void): void => {
      timers.add(setTimeout(run, ms));
    };
    const dial = (): void => {
      transport.subscribe(endpoint, topic, {
        connected: () => {
          terminal.note(`${wasConnected ? "connected again" : "connected"} to ${endpoint}`);
          wasConnected = true;
        },
        message: (frames) => {
          if (count !== null && inspector.messages >= count) return;
          const report = inspector.take(frames);
          if (isJson) terminal.json(typeof report === "string" ? { unreadable: report } : jsonOf(report));
          else for (const line of linesOf(report)) terminal.line(line);
          if (count !== null && inspector.messages >= count) done();
        },
        ended: (reason) => {
          if (!wasConnected) {
            settle(() => {
              reject(unreachable(endpoint, reason));
            });
            return;
          }
          inspector.lost();
          terminal.note(`lost ${endpoint} (${reason}); trying again`);
          after(REDIAL_MS, dial);
        },
      });
    };
    signal.addEventListener("abort", done);
    if (signal.aborted) {
      done();
      return;
    }
    if (seconds !== null)
      after(seconds * 1000, () => {
        if (wasConnected) done();
        else
          settle(() => {
            reject(unreachable(endpoint, "dial_timeout"));
          });
      });
    dial();
  });
}

/** What to look at when a connection did not come to be. */
export const WHY_NOT: Readonly<Record<ConnectionEnd, string>> = {
  refused: "nothing listens there; is the engine up, and are KV events enabled?",
  disconnected: "the connection was closed at once",
  handshake_failed:
    "what listens there does not speak ZeroMQ's publisher protocol; is it another port, or does it ask for CURVE?",
  mechanism_mismatch:
    "the engine asks for CURVE or another security mechanism; give its key with --curve-key-file",
  not_zmtp: "what listens there does not speak ZeroMQ's publisher protocol; is it another port?",
  unsupported_version: "the peer speaks a ZeroMQ protocol before 3.0; libzmq 4 or later is needed",
  socket_type_mismatch: "what listens there is a ZeroMQ socket that does not publish; is it the replay port?",
  peer_refused: "the engine refused the connection",
  unexpected_frame: "the peer breaks ZeroMQ's protocol in the handshake",
  malformed_frame: "the peer breaks ZeroMQ's protocol",
  malformed_command: "the peer breaks ZeroMQ's protocol",
  command_too_long: "the peer sent a command that is too long",
  message_too_long: "the engine sent a message that is too long",
  too_many_parts: "the engine sent a message of too many parts",
  buffers_full: "the memory for incomplete messages is full, and the engine's was the largest",
  peer_silent: "the connection died: the engine gave no sign of life",
  curve_failed: "the CURVE handshake came to nothing; does the engine have this key?",
  unresolvable:
    "the host's name has neither an IPv4 nor an IPv6 address; is it right, and does its DNS server answer?",
  address_in_use: "another socket listens at this address",
  dial_timeout: "no answer; is the address right, and does a firewall let it through?",
  no_socket: "the address is no ZeroMQ address, or the system has no sockets left",
};

/**
 * The error for a connection that never came to be.
 *
 * @param endpoint - dialled.
 * @param reason - as the transport tells it.
 */
function unreachable(endpoint: string, reason: ConnectionEnd): ToolError {
  return new ToolError(
    { code: "unreachable", endpoint, reason },
    `${endpoint}: ${WHY_NOT[reason]} (${reason})`,
  );
}

function jsonOf({ batch, ...message }: MessageReport): object {
  const { timestampSeconds, dpRank, form, events, faults } = batch;
  return { ...message, timestamp: timestampSeconds, dp_rank: dpRank, form, events, faults };
}

function linesOf(report: MessageReport | string): Line[] {
  if (typeof report === "string") return [{ text: `unreadable: ${report}`, style: "red" }];
  const { sequence_number, missed, bytes, batch } = report;
  const lines: Line[] = [];
  if (missed > 0) {
    const text = `gap: ${whole(missed)} messages before ${sequence_number} are missing`;
    lines.push({ text, style: "yellow" });
  }
  if (missed < 0) {
    const text = `went back to ${sequence_number}: a duplicate, or the engine restarted`;
    lines.push({ text, style: "yellow" });
  }
  const { timestampSeconds } = batch;
  const time = timestampSeconds === null ? "" : isoTime(timestampSeconds * 1000).slice(11, 23);
  const rank = batch.dpRank === null ? "" : ` rank ${batch.dpRank}`;
  const events = runsOf(batch.events.map(eventText)).join(" | ");
  const what = events === "" && batch.faults.length === 0 ? "no events" : events;
  const text = `${time} #${sequence_number}${rank} ${bytes} B  ${what}`.trimStart();
  lines.push({ text, style: "dim", painted: time.length });
  for (const { code, message } of batch.faults) lines.push({ text: `  ${code}: ${message}`, style: "red" });
  return lines;
}

/** Equal texts in a row become one: an eviction is a removal a block. */
function runsOf(texts: readonly string[]): string[] {
  const runs: { readonly text: string; count: number }[] = [];
  for (const text of texts) {
    const last = runs.at(-1);
    if (last?.text === text) last.count += 1;
    else runs.push({ text, count: 1 });
  }
  return runs.map(({ text, count }) => (count === 1 ? text : `${text} ×${count}`));
}

function summaryText(summary: StreamSummary): string[] {
  const { events, faults } = summary;
  const seen = (values: readonly (string | number)[]): string =>
    values.length === 0 ? "none seen" : values.join(", ");
  const numbers =
    summary.first_sequence_number === null
      ? "none"
      : `${summary.first_sequence_number} to ${summary.last_sequence_number ?? ""}`;
  return [
    "",
    `${summary.endpoint}, ${summary.seconds.toFixed(1)} s`,
    `  messages          ${whole(summary.messages)} (${summary.messages_per_second}/s), sequence numbers ${numbers}`,
    `  gaps              ${whole(summary.gaps)} (${whole(summary.missed_messages)} messages), went back ${whole(summary.regressions)} times, connection lost ${whole(summary.connections_lost)} times`,
    `  events            ${Object.entries(events)
      .map(([type, count]) => `${type} ${whole(count)}`)
      .join(", ")}`,
    `  blocks            ${whole(summary.blocks_stored)} stored, ${whole(summary.blocks_removed)} removed`,
    `  faults            ${Object.keys(faults).length === 0 ? "none" : JSON.stringify(faults)}`,
    `  spelled as        ${seen(summary.forms)}; topics ${seen(summary.topics.map((topic) => JSON.stringify(topic)))}`,
    `  block sizes       ${seen(summary.block_sizes)}; media ${seen(summary.media)}; groups ${seen(summary.groups)}`,
  ];
}
