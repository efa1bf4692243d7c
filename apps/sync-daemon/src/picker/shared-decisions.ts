/**
 * Messages between the pickers in front of one fleet. With them each ranks by the requests of all.
 *
 *     own pick, first token, end ──▶ message ──▶ bus ──▶ the other pickers
 *     their messages ──▶ read, bounded ──▶ their requests in our books, and the policy's memory
 *     each second ──▶ a sign of life; what belongs to a silent picker ends
 *
 *  H1  When all messages have arrived, two pickers have the same loads (shared-decisions.test.ts "H1").
 *  H2  A request of another picker ends in our books: by its end, its age, its picker's silence, or with the bus
 *      (shared-decisions.test.ts "H2").
 *  H3  Pickers, requests and prefixes are bounded. All else is dropped by a named reason (shared-decisions.test.ts "H3").
 *  H4  Bytes that are no message change nothing and are counted (shared-decisions.test.ts "H4").
 *
 * A lost message costs a worse pick and nothing else. Not here: the bus (nats-bus.ts). A request that another endpoint
 * than the picked one serves stays at the picked one in the books of others.
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
  }),
]);
type Message = z.output<typeof message>;

/** Why a message was not taken. */
type ShareDrop = "malformed" | "too_many_pickers" | "too_many_requests" | "endpoint_unknown";

/** What sharing needs of its owner. */
export interface SharingParts {
  /** Unlike those of all other pickers, and of this one before a restart. */
  readonly name: string;
  /** Takes a message to the others; may lose it. */
  readonly publish: (bytes: Uint8Array) => void;
  readonly dropped: (reason: ShareDrop) => void;
}

/** Another picker. */
interface OtherPicker {
  heardSeconds: number;
  /** Its requests under way, oldest first, by its number. */
  readonly requests: Map<number, { readonly id: number; readonly sinceSeconds: number }>;
}

/** See the header. */
export class SharedDecisions {
  readonly #fleet: Pick<EndpointFleet, "learn" | "firstToken" | "end">;
  readonly #parts: SharingParts;
  readonly #others = new Map<string, OtherPicker>();
  /** Own requests that the others know. */
  readonly #told = new Set<number>();
  #requestCount = 0;
  /** Requests of others have negative numbers in the books; sessions have positive ones. */
  #lastId = 0;

  constructor(fleet: Pick<EndpointFleet, "learn" | "firstToken" | "end">, parts: SharingParts) {
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
  sent(id: number, endpoint: string, promptTokens: number, { prefixes, freshTokens }: PolicyDecision): void {
    this.#told.add(id);
    this.#publish({
      kind: "sent",
      from: this.#parts.name,
      id,
      endpoint,
      prompt_tokens: promptTokens,
      fresh_tokens: Math.round(freshTokens),
      prefixes: prefixes.slice(0, PREFIXES_MAX),
    });
  }

  /** Tells the others that the first token of a request has come. */
  firstToken(id: number): void {
    if (this.#told.has(id)) this.#publish({ kind: "first_token", from: this.#parts.name, id });
  }

  /** Tells the others that a request is over. */
  over(id: number): void {
    if (this.#told.delete(id)) this.#publish({ kind: "over", from: this.#parts.name, id });
  }

  /** Each second: tells the others that this picker lives, and ends what belongs to silent ones. */
  tick(nowSeconds: number): void {
    this.#publish({ kind: "alive", from: this.#parts.name });
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

  /** The bus is lost: nothing is known of the others from now on. */
  lost(): void {
    for (const [name, other] of this.#others) this.#forget(name, other);
  }

  /**
   * Takes a message of another picker.
   *
   * @param bytes - of any content.
   * @param nowSeconds - on the clock of the fleet's `pick`.
   */
  receive(bytes: Uint8Array, nowSeconds: number): void {
    const known = read(bytes);
    if (known === null) {
      this.#parts.dropped("malformed");
      return;
    }
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
    }
  }

  #publish(own: Message): void {
    this.#parts.publish(Buffer.from(JSON.stringify(own)));
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

  #learn(other: OtherPicker, sent: Message & { readonly kind: "sent" }, nowSeconds: number): void {
    this.#end(other, sent.id);
    if (this.#requestCount >= REQUESTS_MAX) {
      this.#parts.dropped("too_many_requests");
      return;
    }
    const id = this.#lastId - 1;
    const decision = { prefixes: sent.prefixes, freshTokens: sent.fresh_tokens };
    if (!this.#fleet.learn(id, sent.endpoint, sent.prompt_tokens, decision, nowSeconds)) {
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

/** Null for what is no message. */
function read(bytes: Uint8Array): Message | null {
  if (bytes.length > MESSAGE_BYTES_MAX) return null;
  try {
    const parsed = message.safeParse(JSON.parse(Buffer.from(bytes).toString()));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}
