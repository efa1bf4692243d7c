/**
 * The live stream of the web page: one look at the fleet each second, encoded once and written to
 * every viewer.
 *
 *     viewer ─▶ hello, snapshot ─▶ delta, happening, alerts, delta, … ─▶ bye
 *                                   │ reads too slowly
 *                                   └─▶ nothing ─ has caught up ─▶ snapshot
 *
 * Invariants
 *  V1  A delta is encoded once, and the same bytes are written to every viewer.
 *  V2  A viewer with more than UNSENT_BYTES_MAX unsent bytes gets nothing more. Once it has none, it
 *      gets a snapshot. Each delta that it did not get is counted.
 *  V3  Between two snapshots of a viewer `n` has no gap.
 *  V4  Without a viewer nothing is looked at, no timer runs, and no server is asked for alerts.
 *  V5  There are at most `viewers` of them; one more is refused with `too_many_viewers`.
 *  V6  When it stops, every viewer gets `bye`, and then the end. So does a viewer after VIEWER_MS_MAX: a
 *      caller whose token was withdrawn since is refused then.
 *
 * No compression: it would be a cost for each viewer and delta. A proxy may add it.
 */

import { CodedError } from "@kvsync/core";
import { DELTA_OUTCOMES, SERVICE_METRICS } from "@kvsync/observability/kvsync/service";
import { STREAM_METRICS } from "@kvsync/observability/kvsync/stream";
import type { Counter, Gauge, MetricSlots } from "@kvsync/observability/slots";

import { byKey } from "../handles-by-key.ts";
import type { DeltaEncoder, FleetLook } from "./delta-encoder.ts";
import type { Happening } from "./happenings.ts";

/** Time between two deltas. */
const BEAT_MS = 1000;
/** Silence after which a comment is sent, so that no proxy ends the stream. */
const KEEP_ALIVE_BEATS = 15;
/** Several snapshots of a large fleet. */
const UNSENT_BYTES_MAX = 256 * 1024;
/** A token that was withdrawn ends with it. */
const VIEWER_MS_MAX = 3_600_000;
/** Wait before a page asks again. */
const RETRY_MS = 3000;
/** What happened this shortly before a look is left for the next one: another thread may still be recording it. */
const HAPPENING_LAG_MS = 500;

/** Facts of a viewer that is refused. */
export interface ViewerFacts {
  readonly code: "too_many_viewers";
  readonly maximum: number;
}

/** A viewer that is refused. */
export class ViewerError extends CodedError<ViewerFacts> {}

/** A viewer: a response that is written to. */
export interface Viewer {
  /** Bytes that were written and not sent. */
  readonly writableLength: number;
  readonly write: (bytes: Buffer) => void;
  readonly end: () => void;
}

/** What is sent beside the fleet's rows. */
export interface LiveSources {
  readonly encoder: DeltaEncoder;
  /** First event of a stream. */
  readonly hello: () => object;
  /** Figures of the seconds since the last look. */
  readonly totals: (look: FleetLook, seconds: number) => object;
  readonly health: () => object;
  /** Alerts are asked for while there is a viewer. Another object is another list. */
  readonly alerts: { readonly watch: (isWatched: boolean) => void; readonly present: () => object };
  readonly happenings: (afterMs: number, untilMs: number) => readonly Happening[];
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number;
  readonly metrics: MetricSlots;
  readonly viewersMax: number;
}

/** A viewer and where it stands. */
interface Watching {
  readonly viewer: Viewer;
  readonly sinceMs: number;
  /** Whether it gets deltas (V2). */
  isCurrent: boolean;
}

/** See the head of this file. */
export class LiveStream {
  readonly #sources: LiveSources;
  readonly #watching = new Set<Watching>();
  readonly #bytes: Counter;
  readonly #deltas: Readonly<Record<(typeof DELTA_OUTCOMES)[number], Counter>>;
  readonly #sessions: Gauge;
  #timer: NodeJS.Timeout | null = null;
  #n = 0;
  #lastMs = 0;
  #totals: object = {};
  #health = "";
  #alerts: object | null = null;
  #quietBeats = 0;
  #isStopped = false;

  /** @param sources - what is sent. */
  constructor(sources: LiveSources) {
    this.#sources = sources;
    this.#bytes = sources.metrics.counter(SERVICE_METRICS.dashboardStreamBytes, {});
    this.#deltas = byKey(DELTA_OUTCOMES, (outcome) =>
      sources.metrics.counter(SERVICE_METRICS.dashboardDeltas, { outcome }),
    );
    this.#sessions = sources.metrics.gauge(STREAM_METRICS.streamActiveSessions, { kind: "dashboard" });
    this.#sessions.set(0);
  }

  /** How many watch. */
  get viewers(): number {
    return this.#watching.size;
  }

  /**
   * Adds a viewer.
   *
   * @param viewer - gets hello and a snapshot at once.
   * @returns ends it; to be called when the viewer is gone.
   */
  watch(viewer: Viewer): () => void {
    this.check();
    const { now, hello } = this.#sources;
    if (this.#isStopped) {
      viewer.write(eventBytes("bye", { reason: "stopping", retry_ms: RETRY_MS }));
      viewer.end();
      return () => undefined;
    }
    if (this.#watching.size === 0) this.#begin();
    const watching: Watching = { viewer, sinceMs: now(), isCurrent: true };
    this.#watching.add(watching);
    this.#sessions.set(this.#watching.size);
    this.#write(watching, eventBytes("hello", hello()));
    this.#write(watching, this.#snapshot());
    return () => {
      this.#leave(watching);
    };
  }

  /**
   * Whether there is room for one more (V5).
   *
   * @throws ViewerError too_many_viewers.
   */
  check(): void {
    const { viewersMax: maximum } = this.#sources;
    if (this.#watching.size < maximum) return;
    const text = `${maximum} viewers watch the web page (dashboard.viewers); close one`;
    throw new ViewerError({ code: "too_many_viewers", maximum }, text);
  }

  /** Ends every stream (V6), now and from now on. */
  stop(): void {
    this.#isStopped = true;
    for (const watching of [...this.#watching]) this.#dismiss(watching, "stopping");
  }

  /** One second has gone by. Called by its own timer. */
  beat(): void {
    const { encoder, happenings, now } = this.#sources;
    const [lastMs, nowMs] = [this.#lastMs, now()];
    const look = this.#look(nowMs);
    this.#n += 1;
    const health = JSON.stringify(this.#sources.health());
    const isHealthNew = health !== this.#health;
    this.#health = health;
    const delta = { n: this.#n, at: Math.round(nowMs), ...look.delta, totals: this.#totals };
    const parts = [eventBytes("delta", isHealthNew ? { ...delta, health: this.#sources.health() } : delta)];
    const alerts = this.#changedAlerts();
    if (alerts !== null) parts.push(alerts);
    for (const happening of happenings(lastMs - HAPPENING_LAG_MS, nowMs - HAPPENING_LAG_MS))
      parts.push(eventBytes("happening", happening));
    if (++this.#quietBeats >= KEEP_ALIVE_BEATS) {
      this.#quietBeats = 0;
      parts.push(Buffer.from(": keep-alive\n\n"));
    }
    this.#send(Buffer.concat(parts), encoder.isAnew);
    encoder.isAnew = false;
    for (const watching of [...this.#watching])
      if (nowMs - watching.sinceMs > VIEWER_MS_MAX) this.#dismiss(watching, "replaced");
  }

  /** The same bytes to all (V1, V2). */
  #send(bytes: Buffer, isAnew: boolean): void {
    let snapshot: Buffer | null = null;
    for (const watching of this.#watching) {
      const unsent = watching.viewer.writableLength;
      if (unsent > UNSENT_BYTES_MAX) watching.isCurrent = false;
      if (watching.isCurrent && !isAnew) {
        this.#write(watching, bytes);
        this.#deltas.sent.inc();
        continue;
      }
      this.#deltas.skipped.inc();
      watching.isCurrent = unsent === 0;
      if (watching.isCurrent) this.#write(watching, (snapshot ??= this.#snapshot()));
    }
  }

  #write({ viewer }: Watching, bytes: Buffer): void {
    this.#bytes.inc(bytes.length);
    viewer.write(bytes);
  }

  #dismiss(watching: Watching, reason: "stopping" | "replaced"): void {
    const { viewer } = watching;
    this.#write(watching, eventBytes("bye", { reason, retry_ms: reason === "stopping" ? RETRY_MS : 0 }));
    viewer.end();
    this.#leave(watching);
  }

  #leave(watching: Watching): void {
    this.#watching.delete(watching);
    this.#sessions.set(this.#watching.size);
    if (this.#watching.size === 0) this.#rest();
  }

  #begin(): void {
    const nowMs = this.#sources.now();
    this.#lastMs = nowMs;
    this.#look(nowMs);
    this.#health = JSON.stringify(this.#sources.health());
    this.#sources.alerts.watch(true);
    this.#changedAlerts();
    this.#timer = setInterval(() => {
      this.beat();
    }, BEAT_MS);
    this.#timer.unref();
  }

  /** V4 */
  #rest(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    this.#sources.alerts.watch(false);
  }

  /** Null when they are as they were. */
  #changedAlerts(): Buffer | null {
    const alerts = this.#sources.alerts.present();
    if (alerts === this.#alerts) return null;
    this.#alerts = alerts;
    return eventBytes("alerts", alerts);
  }

  #look(nowMs: number): FleetLook {
    const look = this.#sources.encoder.look();
    this.#totals = this.#sources.totals(look, (nowMs - this.#lastMs) / 1000);
    this.#lastMs = nowMs;
    return look;
  }

  #snapshot(): Buffer {
    const { encoder, happenings, health, now } = this.#sources;
    return eventBytes("snapshot", {
      n: this.#n,
      at: Math.round(now()),
      ...encoder.snapshot(),
      totals: this.#totals,
      health: health(),
      alerts: this.#sources.alerts.present(),
      happenings: happenings(0, now() - HAPPENING_LAG_MS),
    });
  }
}

/** An event as the stream has it: JSON has no line breaks. */
/** An event of a stream, as it travels. */
export function eventBytes(event: string, data: object): Buffer {
  return Buffer.from(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
}
