/**
 * Viewers of a stream that is looked at each BEAT_MS while one watches: a rank's events (event-streams.ts) and the lines of
 * the log (log-streams.ts).
 *
 *     viewer ─▶ hello ─▶ data, or nothing and a comment at times, each BEAT_MS ─▶ bye, or an end of the stream's own
 *
 * A viewer with more than `unsentBytesMax` unsent bytes is passed over. Its stream ends with `bye` when the daemon stops, and
 * after VIEWER_MS_MAX. Without a viewer no timer runs. The numbers of these rules are those of the two streams.
 *
 * Not here: data that is the same for all viewers, and written at once to all (live-stream.ts).
 */
import { eventBytes, type Viewer, ViewerError } from "./live-stream.ts";

const BEAT_MS = 250;
const KEEP_ALIVE_BEATS = 60;
/** A token that was withdrawn ends with it. */
const VIEWER_MS_MAX = 3_600_000;

/** A stream, as its viewers need it. */
export interface BeatSource<Item> {
  readonly maximum: number;
  /** The sentence for one viewer more. */
  readonly refusal: string;
  readonly unsentBytesMax: number;
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number;
  /** Data that came for a viewer since the last look; null for none. */
  readonly look: (item: Item) => Buffer | null;
  /** Name of the last event of a stream that has ended by itself; null while it has not. */
  readonly endOf?: (item: Item) => string | null;
  /** A viewer is gone. */
  readonly left?: (item: Item) => void;
}

interface Watching<Item> {
  readonly viewer: Viewer;
  readonly item: Item;
  readonly untilMs: number;
  quietBeats: number;
}

/** See the head of this file. */
export class BeatViewers<Item> {
  readonly #source: BeatSource<Item>;
  readonly #watching = new Set<Watching<Item>>();
  #timer: NodeJS.Timeout | null = null;

  /** @param source - of what is sent. */
  constructor(source: BeatSource<Item>) {
    this.#source = source;
  }

  /**
   * Refuses a viewer that there is no room for.
   *
   * @throws ViewerError too_many_viewers.
   */
  check(): void {
    const { maximum, refusal } = this.#source;
    if (this.#watching.size < maximum) return;
    throw new ViewerError({ code: "too_many_viewers", maximum }, refusal);
  }

  /**
   * Adds a viewer that there is room for.
   *
   * @param viewer - gets `hello` at once.
   * @param item - what the source knows it by.
   * @param hello - data of the first event.
   * @returns to be called when the viewer is gone.
   */
  add(viewer: Viewer, item: Item, hello: object): () => void {
    const untilMs = this.#source.now() + VIEWER_MS_MAX;
    const watching = { viewer, item, untilMs, quietBeats: 0 };
    this.#watching.add(watching);
    viewer.write(eventBytes("hello", hello));
    this.#timer ??= setInterval(() => {
      this.beat();
    }, BEAT_MS).unref();
    return () => {
      this.#leave(watching);
    };
  }

  /** Sends what came. */
  beat(): void {
    const { now, endOf, unsentBytesMax } = this.#source;
    const nowMs = now();
    for (const watching of [...this.#watching]) {
      const end = endOf?.(watching.item) ?? (nowMs > watching.untilMs ? "bye" : null);
      if (end !== null) this.#dismiss(watching, end);
      else if (watching.viewer.writableLength <= unsentBytesMax) this.#send(watching);
    }
  }

  /** Ends all streams. */
  stop(): void {
    for (const watching of [...this.#watching]) this.#dismiss(watching, "bye");
  }

  #send(watching: Watching<Item>): void {
    const bytes = this.#source.look(watching.item);
    if (bytes !== null) {
      watching.quietBeats = 0;
      watching.viewer.write(bytes);
    } else if (++watching.quietBeats >= KEEP_ALIVE_BEATS) {
      watching.quietBeats = 0;
      watching.viewer.write(Buffer.from(": keep-alive\n\n"));
    }
  }

  #dismiss(watching: Watching<Item>, event: string): void {
    watching.viewer.write(eventBytes(event, {}));
    watching.viewer.end();
    this.#leave(watching);
  }

  #leave(watching: Watching<Item>): void {
    if (!this.#watching.delete(watching)) return;
    this.#source.left?.(watching.item);
    if (this.#watching.size > 0 || this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
  }
}
