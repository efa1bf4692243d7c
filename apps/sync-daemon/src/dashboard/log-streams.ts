/**
 * New lines of the log, for those who watch it on the web page.
 *
 *     viewer ─▶ hello, lines that are kept ─▶ lines, each beat ─▶ bye
 *
 * Invariants
 *  G1  A viewer gets each line that its filter takes once and in order, or the number of those left out.
 *  G2  A viewer gets at most BEAT_LINES lines a beat, the latest. With more than UNSENT_BYTES_MAX unsent
 *      bytes it gets nothing, and later the latest and the number of the others.
 *  G3  There are at most `viewers` of them; one more is refused with `too_many_viewers`.
 *  G4  A stream ends when the daemon stops, and after an hour. Without a viewer no timer runs.
 *
 * Lines come from the ring (log-ring.ts), so that a line of the log costs the same with viewers.
 */

import { BeatViewers } from "./beat-viewers.ts";
import { type LineFilter, LINES_MAX, type LogRing } from "./log-ring.ts";
import { eventBytes, type Viewer } from "./live-stream.ts";

/** 200 lines a second: more than a person reads. */
const BEAT_LINES = 50;
/** A beat of long lines. */
const UNSENT_BYTES_MAX = 256 * 1024;

/** Where lines come from, and the limit of viewers. */
export interface LogStreamSources {
  readonly ring: LogRing;
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number;
  readonly viewersMax: number;
}

/** A viewer's filter, and the line that it got last. */
interface LinesWanted {
  readonly filter: LineFilter;
  after: number;
}

/** See the head of this file. */
export class LogStreams {
  readonly #sources: LogStreamSources;
  readonly #viewers: BeatViewers<LinesWanted>;

  /** @param sources - ring and limit. */
  constructor(sources: LogStreamSources) {
    this.#sources = sources;
    const { now, viewersMax: maximum } = sources;
    this.#viewers = new BeatViewers({
      maximum,
      refusal: `${maximum} viewers watch the log (dashboard.viewers); close one`,
      unsentBytesMax: UNSENT_BYTES_MAX,
      now,
      look: (wanted) => this.#look(wanted),
    });
  }

  /**
   * Refuses a viewer that there is no room for (G3).
   *
   * @throws ViewerError too_many_viewers.
   */
  check(): void {
    this.#viewers.check();
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
    const wanted = { filter, after: filter.after > ring.last ? 0 : filter.after };
    const leave = this.#viewers.add(viewer, wanted, { last: ring.last, now: Math.round(now()) });
    // Kept lines beyond the limit were not asked for, so that they are not left out.
    const kept = ring.lines({ ...filter, after: wanted.after });
    const lost = this.#lost(wanted);
    wanted.after = ring.last;
    if (kept.length > 0 || lost > 0) viewer.write(linesBytes(ring.last, kept, lost));
    return leave;
  }

  /** Sends what came. */
  beat(): void {
    this.#viewers.beat();
  }

  /** Ends all streams. */
  stop(): void {
    this.#viewers.stop();
  }

  /** G1, G2 */
  #look(wanted: LinesWanted): Buffer | null {
    const { ring } = this.#sources;
    const { after, filter } = wanted;
    const found = ring.last === after ? [] : ring.lines({ ...filter, after, limit: LINES_MAX });
    const lost = this.#lost(wanted);
    wanted.after = ring.last;
    if (found.length === 0 && lost === 0) return null;
    const lines = found.slice(-BEAT_LINES);
    return linesBytes(ring.last, lines, lost + found.length - lines.length);
  }

  /** Lines that the ring lost. Whether the filter would have taken them is not known: each counts. */
  #lost({ after }: LinesWanted): number {
    return after === 0 ? 0 : Math.max(0, this.#sources.ring.last - LINES_MAX - after);
  }
}

function linesBytes(last: number, lines: ReturnType<LogRing["lines"]>, leftOut: number): Buffer {
  return eventBytes("lines", { last, lines, left_out: leftOut });
}
