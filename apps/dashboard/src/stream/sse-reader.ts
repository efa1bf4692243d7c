/**
 * Reads server-sent events from the bytes of a response.
 *
 *     bytes in any chunks ──▶ text ──▶ lines ──▶ fields ──▶ one event at each empty line
 *
 * `EventSource` cannot send an `Authorization` header, so the page reads the stream itself. Follows
 * the HTML standard's "server-sent events", with `event` and `data` alone: the daemon sends no `id`.
 *
 * Invariants (sse-reader.test.ts)
 *  R1  The events are the same for every division of the bytes into chunks.
 *  R2  The text of an unfinished event is bounded: a longer one is an error, and not more memory.
 *
 * Not here: the meaning of events (fleet-store.ts), and when to connect again (connection.ts).
 */

/** One event. */
export interface StreamEvent {
  /** `message` when the stream names none. */
  readonly event: string;
  readonly data: string;
}

/** Most characters of one unfinished event: a snapshot of 4,096 ranks has about 400,000. */
export const EVENT_CHARACTERS_MAX = 8_000_000;

/** The stream sent an event that is longer than the page reads. */
export class EventTooLongError extends Error {
  readonly code = "event_too_long";
  readonly charactersMax = EVENT_CHARACTERS_MAX;

  constructor() {
    super(`an event has more than ${EVENT_CHARACTERS_MAX} characters`);
  }
}

/** Collects chunks and gives the events that they complete. */
export class SseReader {
  readonly #decoder = new TextDecoder();
  /** The last line, as far as it arrived. */
  #rest = "";
  /** A line ended with CR: an LF that follows belongs to it. */
  #afterReturn = false;
  #event = "";
  #data: string[] = [];
  #dataCharacters = 0;

  /**
   * Takes the next bytes.
   *
   * @returns the events that end in them, in their order.
   * @throws EventTooLongError when an event grows beyond {@link EVENT_CHARACTERS_MAX}.
   */
  read(chunk: Uint8Array): StreamEvent[] {
    const events: StreamEvent[] = [];
    let text = this.#decoder.decode(chunk, { stream: true });
    if (text === "") return events;
    if (this.#afterReturn && text.startsWith("\n")) text = text.slice(1);
    this.#afterReturn = text.endsWith("\r") || (text === "" && this.#afterReturn);
    const lines = text.split(/\r\n|\n|\r/);
    lines[0] = this.#rest + (lines[0] ?? "");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) this.#line(line, events);
    // R2
    if (this.#rest.length + this.#dataCharacters > EVENT_CHARACTERS_MAX) throw new EventTooLongError();
    return events;
  }

  #line(line: string, events: StreamEvent[]): void {
    if (line === "") {
      if (this.#data.length > 0)
        events.push({ event: this.#event === "" ? "message" : this.#event, data: this.#data.join("\n") });
      this.#event = "";
      this.#data = [];
      this.#dataCharacters = 0;
      return;
    }
    const colon = line.indexOf(":");
    const field = colon === -1 ? line : line.slice(0, colon);
    const start = colon === -1 ? line.length : colon + (line[colon + 1] === " " ? 2 : 1);
    const value = line.slice(start);
    // A comment has an empty name: it only keeps the connection alive.
    if (field === "event") this.#event = value;
    if (field === "data") {
      this.#data.push(value);
      this.#dataCharacters += value.length;
    }
  }
}
