/**
 * New lines of the log, for those who watch it on the web page.
 *
 *     viewer ─▶ hello, lines that are kept ─▶ lines, each BEAT_MS ─▶ bye
 *
 * Invariants
 *  G1  A viewer gets each line that its filter takes once and in order, or the number of those left out.
 *  G2  A viewer gets at most BEAT_LINES lines a beat, the latest. With more than UNSENT_BYTES_MAX unsent
 *      bytes it gets nothing, and later the latest and the number of the others.
 *  G3  There are at most `viewers` of them; one more is refused with `too_many_viewers`.
 *  G4  A stream ends when the daemon stops, and after VIEWER_MS_MAX. Without a viewer no timer runs.
 *
 * Lines come from the ring (log-ring.ts), so that a line of the log costs the same with viewers.
 */

import { type LineFilter, LINES_MAX, type LogRing } from "./log-ring.ts";
import { type Viewer, ViewerError } from "./live-stream.ts";

const BEAT_MS = 250;
/** 200 lines a second: more than a person reads. */
const BEAT_LINES = 50;
const KEEP_ALIVE_BEATS = 60;
/** A beat of long lines. */
const UNSENT_BYTES_MAX = 256 * 1024;
/** A token that was withdrawn ends with it. */
const VIEWER_MS_MAX = 3_600_000;

/** Where lines come from, and the limit of viewers. */
export interface LogStreamSources {
  readonly ring: LogRing;
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number;
  readonly viewersMax: number;
}

/** A viewer and the line that it got last. */
interface Watching {
  readonly viewer: Viewer;
  readonly filter: LineFilter;
  readonly untilMs: number;
  after: number;
  quietBeats: number;
}

/** See the head of this file. */
export class LogStreams {
  readonly #sources: LogStreamSources;
  readonly #watching = new Set<Watching>();
  #timer: NodeJS.Timeout | null = null;

  /** @param sources - ring and limit. */
  constructor(sources: LogStreamSources) {
    this.#sources = sources;
  }

  /**
   * Refuses a viewer that there is no room for (G3).
   *
   * @throws ViewerError too_many_viewers.
   */
  check(): void {
    const { viewersMax: maximum } = this.#sources;
    if (this.#watching.size < maximum) return;
    const text = `${maximum} viewers watch the log (dashboard.viewers); close one`;
    throw new ViewerError({ code: "too_many_viewers", maximum }, text);
  }

  /**
   * Writes lines to a viewer: those that are kept at once, and new ones as they come.
   *
   * @param viewer - who watches.
   * @param filter - after which line, how grave, about what; a number that no line has yet is one of an
   *   earlier process, and counts as 0.
   * @returns to be called when the viewer is gone.
   * @throws ViewerError too_many_viewers.
   */
  watch(viewer: Viewer, filter: LineFilter): () => void {
    this.check();
    const { ring, now } = this.#sources;
    const after = filter.after > ring.last ? 0 : filter.after;
    const watching = { viewer, filter, untilMs: now() + VIEWER_MS_MAX, after, quietBeats: 0 };
    this.#watching.add(watching);
    viewer.write(bytesOf("hello", { last: ring.last, now: Math.round(now()) }));
    this.#send(watching, filter.limit);
    this.#timer ??= setInterval(() => {
      this.beat();
    }, BEAT_MS).unref();
    return () => {
      this.#leave(watching);
    };
  }

  /** Sends what came. */
  beat(): void {
    const nowMs = this.#sources.now();
    for (const watching of [...this.#watching])
      if (nowMs > watching.untilMs) this.#dismiss(watching);
      else if (watching.viewer.writableLength <= UNSENT_BYTES_MAX) this.#send(watching, BEAT_LINES);
  }

  /** Ends all streams. */
  stop(): void {
    for (const watching of [...this.#watching]) this.#dismiss(watching);
  }

  /** G1, G2 */
  #send(watching: Watching, limit: number): void {
    const { ring } = this.#sources;
    const { after, filter, viewer } = watching;
    const { last } = ring;
    const found = last === after ? [] : ring.lines({ ...filter, after, limit: LINES_MAX });
    // Whether a filter would have taken a line that the ring lost is not known: each counts.
    const lost = after === 0 ? 0 : Math.max(0, last - LINES_MAX - after);
    const lines = found.slice(-limit);
    watching.after = last;
    if (lines.length > 0 || lost > 0) {
      watching.quietBeats = 0;
      viewer.write(bytesOf("lines", { last, lines, left_out: lost + found.length - lines.length }));
    } else if (++watching.quietBeats >= KEEP_ALIVE_BEATS) {
      watching.quietBeats = 0;
      viewer.write(Buffer.from(": keep-alive\n\n"));
    }
  }

  #dismiss(watching: Watching): void {
    watching.viewer.write(bytesOf("bye", {}));
    watching.viewer.end();
    this.#leave(watching);
  }

  /** G4 */
  #leave(watching: Watching): void {
    this.#watching.delete(watching);
    if (this.#watching.size > 0 || this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
  }
}

function bytesOf(event: string, data: object): Buffer {
  return Buffer.from(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
}
