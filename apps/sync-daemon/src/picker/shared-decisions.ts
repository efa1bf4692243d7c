/**
 * Messages between the pickers in front of one fleet. With them each ranks by the requests of all.
 *
 *     own pick, first token, end ──▶ message ──▶ bus ──▶ the other pickers
 *     their messages ──▶ bounded ──▶ their requests in our books, and the policy's memory
 *     each second ──▶ a sign of life; what belongs to a silent picker ends
 *
 * The threads of one daemon are pickers to each other, too. They also share which endpoints did not serve their picks,
 * so that an endpoint rests at all of them at once.
 *
 *  H1  When all messages have arrived, two pickers have the same loads (shared-decisions.test.ts "H1").
 *  H2  A request of another picker ends in our books: by its end, its age, its picker's silence, or with the bus
 *      (shared-decisions.test.ts "H2").
 *  H3  Pickers, requests and prefixes are bounded. All else is dropped by a named reason (shared-decisions.test.ts "H3").
 *  H4  Bytes that are no message change nothing and are counted (shared-decisions.test.ts "H4").
 *
 *  H5  With the bus only pickers of other daemons are lost: threads of the own one stay (shared-decisions.test.ts "H5").
 *
 * A lost message costs a worse pick and nothing else. Not here: the ways of messages (nats-bus.ts, thread-channel.ts). A
 * request that another endpoint than the picked one serves stays at the picked one in the books of others.
 */
import type { PolicyDecision } from "@kvsync/routing";
import { z } from "zod";

import type { EndpointFleet } from "./endpoint-fleet.ts";

/** Beginnings of one prompt that travel: 131,072 tokens in chunks of 256. A longer prompt is known by these. */
const PREFIXES_MAX = 512;
/** Pickers in front of one fleet; more are replicas that nobody runs, or noise. */
const PICKERS_MAX = 64;
/** Requests of all other pickers under way. */
const REQUESTS_MAX = 20_000;
/** A request whose end was lost counts so long. */
const REQUEST_SECONDS_MAX = 600;
/** A picker that is silent for five signs of life is gone. */
const SILENCE_SECONDS_MAX = 5;
/** Longest message that is read: all prefixes in decimal digits, and some. */
const MESSAGE_BYTES_MAX = 16 * 1024;
const TEXT_MAX = 256;

const from = z.string().min(1).max(TEXT_MAX);
const count = z.int().min(0);
const message = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("alive"), from }),
  z.object({ kind: z.enum(["first_token", "over"]), from, id: count }),
  z.object({
    kind: z.literal("sent"),
    from,
    id: count,
    endpoint: z.string().min(1).max(TEXT_MAX),
    prompt_tokens: count,
    fresh_tokens: count,
    prefixes: z.array(count).max(PREFIXES_MAX),
    /** Digest of its session's name. */
    session: z.string().min(1).max(TEXT_MAX).optional(),
    adapter: z.string().min(1).max(TEXT_MAX).optional(),
  }),
]);
type Message = z.output<typeof message>;

/** What pickers tell each other. `served` is for the threads of one daemon alone, and never on the bus. */
export type SharedMessage =
  | Message
  | {
      readonly kind: "served";
      readonly from: string;
      /** That was picked. */
      readonly endpoint: string;
      /** False: another one served. */
      readonly isPicked: boolean;
    };

/** Why a message was not taken, or not sent. */
export type ShareDrop =
  | "malformed"
  | "too_many_pickers"
  | "too_many_requests"
  | "endpoint_unknown"
  | "unsent";

/** What sharing needs of its owner. */
export interface SharingParts {
  /** Unlike those of all other pickers, and of this one before a restart. */
  readonly name: string;
  /** Takes a message to the others; may lose it. */
  readonly publish: (message: SharedMessage) => void;
  readonly dropped: (reason: ShareDrop) => void;
  /** Whether a picker is a thread of the same daemon. Absent: none is. */
  readonly isOwnDaemon?: (name: string) => boolean;
}

/** What a pick leaves behind at its endpoint beside its load. */
export interface PickTraits {
  readonly session?: string | undefined;
  readonly adapter?: string | null | undefined;
}

/** What is told to the books. */
type SharedFleet = Pick<EndpointFleet, "learn" | "firstToken" | "end" | "note">;

/** Another picker. */
interface OtherPicker {
  heardSeconds: number;
  /** Its requests under way, oldest first, by its number. */
  readonly requests: Map<number, { readonly id: number; readonly sinceSeconds: number }>;
}

/** See the header. */
export class SharedDecisions {
  readonly #fleet: SharedFleet;
  readonly #parts: SharingParts;
  readonly #others = new Map<string, OtherPicker>();
  /** Own requests that the others know. */
  readonly #told = new Set<number>();
  #requestCount = 0;
  /** Requests of others have negative numbers in the books; sessions have positive ones. */
  #lastId = 0;

  constructor(fleet: SharedFleet, parts: SharingParts) {
    this.#fleet = fleet;
    this.#parts = parts;
  }

  /** Requests of other pickers under way. */
  get requestCount(): number {
    return this.#requestCount;
  }

  /** Other pickers that are heard of. */
  get pickerCount(): number {
    return this.#others.size;
  }

  /** Tells the others of a pick. */
  sent(
    id: number,
    endpoint: string,
    promptTokens: number,
    { prefixes, freshTokens }: PolicyDecision,
    { session, adapter }: PickTraits = {},
  ): void {
    this.#told.add(id);
    this.#parts.publish({
      kind: "sent",
      from: this.#parts.name,
      id,
      endpoint,
      prompt_tokens: promptTokens,
      fresh_tokens: Math.round(freshTokens),
      prefixes: prefixes.slice(0, PREFIXES_MAX),
      ...(session !== undefined && { session }),
      ...(typeof adapter === "string" && adapter.length <= TEXT_MAX && { adapter }),
    });
  }

  /** Tells the threads of the own daemon who did, or did not, serve its pick. */
  served(endpoint: string, isPicked: boolean): void {
    this.#parts.publish({ kind: "served", from: this.#parts.name, endpoint, isPicked });
  }

  /** Tells the others that the first token of a request has come. */
  firstToken(id: number): void {
    if (this.#told.has(id)) this.#parts.publish({ kind: "first_token", from: this.#parts.name, id });
  }

  /** Tells the others that a request is over. */
  over(id: number): void {
    if (this.#told.delete(id)) this.#parts.publish({ kind: "over", from: this.#parts.name, id });
  }

  /** Each second: tells the others that this picker lives, and ends what belongs to silent ones. */
  tick(nowSeconds: number): void {
    this.#parts.publish({ kind: "alive", from: this.#parts.name });
    for (const [name, other] of this.#others) {
      if (nowSeconds - other.heardSeconds > SILENCE_SECONDS_MAX) {
        this.#forget(name, other);
        continue;
      }
      for (const [number, { sinceSeconds }] of other.requests) {
        if (nowSeconds - sinceSeconds <= REQUEST_SECONDS_MAX) break;
        this.#end(other, number);
      }
    }
  }

  /** The bus is lost: nothing is known of other daemons from now on (H5). */
  lost(): void {
    for (const [name, other] of this.#others)
      if (this.#parts.isOwnDaemon?.(name) !== true) this.#forget(name, other);
  }

  /**
   * Takes a message of another picker.
   *
   * @param known - from `readMessage`, or from a thread of the own daemon.
   * @param nowSeconds - on the clock of the fleet's `pick`.
   */
  receive(known: SharedMessage, nowSeconds: number): void {
    if (known.from === this.#parts.name) return;
    const other = this.#otherOf(known.from, nowSeconds);
    if (other === null) return;
    switch (known.kind) {
      case "alive":
        break;
      case "sent":
        this.#learn(other, known, nowSeconds);
        break;
      case "first_token": {
        const request = other.requests.get(known.id);
        if (request !== undefined) this.#fleet.firstToken(request.id);
        break;
      }
      case "over":
        this.#end(other, known.id);
        break;
      case "served":
        this.#fleet.note(known.endpoint, known.isPicked, nowSeconds);
        break;
    }
  }

  #otherOf(name: string, nowSeconds: number): OtherPicker | null {
    const known = this.#others.get(name);
    if (known !== undefined) {
      known.heardSeconds = nowSeconds;
      return known;
    }
    if (this.#others.size >= PICKERS_MAX) {
      this.#parts.dropped("too_many_pickers");
      return null;
    }
    const other = { heardSeconds: nowSeconds, requests: new Map() };
    this.#others.set(name, other);
    return other;
  }

  #learn(other: OtherPicker, sent: SharedMessage & { readonly kind: "sent" }, nowSeconds: number): void {
    this.#end(other, sent.id);
    if (this.#requestCount >= REQUESTS_MAX) {
      this.#parts.dropped("too_many_requests");
      return;
    }
    const id = this.#lastId - 1;
    const { endpoint, prompt_tokens: promptTokens, session, adapter } = sent;
    const learned = { prefixes: sent.prefixes, freshTokens: sent.fresh_tokens };
    if (!this.#fleet.learn(id, endpoint, promptTokens, { ...learned, session, adapter }, nowSeconds)) {
      this.#parts.dropped("endpoint_unknown");
      return;
    }
    this.#lastId = id;
    this.#requestCount += 1;
    other.requests.set(sent.id, { id, sinceSeconds: nowSeconds });
  }

  #end(other: OtherPicker, number: number): void {
    const request = other.requests.get(number);
    if (request === undefined) return;
    other.requests.delete(number);
    this.#requestCount -= 1;
    this.#fleet.end(request.id);
  }

  #forget(name: string, other: OtherPicker): void {
    for (const number of other.requests.keys()) this.#end(other, number);
    this.#others.delete(name);
  }
}

/**
 * A message as it travels on the bus.
 *
 * @param own - of this daemon.
 * @returns null for one that stays within the daemon.
 */
export function writeMessage(own: SharedMessage): Uint8Array | null {
  return own.kind === "served" ? null : Buffer.from(JSON.stringify(own));
}

/**
 * Reads a message of the bus.
 *
 * @param bytes - of any content.
 * @returns null for what is no message.
 */
export function readMessage(bytes: Uint8Array): SharedMessage | null {
  if (bytes.length > MESSAGE_BYTES_MAX) return null;
  try {
    const parsed = message.safeParse(JSON.parse(Buffer.from(bytes).toString()));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}
