/**
 * One stream's metrics: turns the reports of core's state machine into handle updates.
 *
 * Handles of common series are made at once. Handles of drop reasons are made on first use, since a
 * thousand engines times forty reasons would be mostly zeros. Handles of several ranks of one pod
 * share their series and add up.
 *
 * Timing events costs more than counting them (two clock readings are 110 ns), so one message in
 * `TIMED_EVERY` is timed. Each of its events is timed from the end of its predecessor to its own
 * end, decoding included.
 */

import {
  type DropReason,
  type EventType,
  type FieldOwner,
  MESSAGE_DROP_REASONS,
  type ReplayStatus,
  type SyncListener,
} from "@kvsync/core";
import type { OpenLabel } from "@kvsync/observability/definition";
import { INGEST_METRICS } from "@kvsync/observability/kvsync/ingest";
import { EVENT_TYPES } from "@kvsync/observability/kvsync/label-domains";
import { PREFIX_INDEX_METRICS } from "@kvsync/observability/kvsync/prefix-index";
import { SECURITY_METRICS } from "@kvsync/observability/kvsync/security";
import { STREAM_METRICS } from "@kvsync/observability/kvsync/stream";
import type { Counter, Gauge, Histogram, MetricSlots } from "@kvsync/observability/slots";

import { byKey } from "../handles-by-key.ts";
import {
  type ConnectionEnd,
  isViolation,
  type PublisherRefusal,
  type Violation,
} from "../transport/transport.ts";
import { QUEUE_DROP_REASONS, type QueueDropReason } from "../board/drop-reasons.ts";
import type { Lane } from "./ingest-queue.ts";

/** A propagation that is longer is a clock that is wrong. */
const PROPAGATION_SECONDS_MAX = 86_400;

/** One message in so many has its events timed. */
const TIMED_EVERY = 16;

/** Drop reasons with which the index refused an operation; the others never reach it. */
const INDEX_REFUSALS: ReadonlySet<string> = new Set<DropReason>([
  "park_full",
  "index_memory_limit",
  "too_many_blocks",
  "index_refused",
]);
const NOT_WIRE_ERRORS: ReadonlySet<string> = new Set(MESSAGE_DROP_REASONS);
/** What an event does to the index; an unknown one does nothing. */
const OPERATIONS = {
  BlockStored: "store",
  BlockRemoved: "remove",
  AllBlocksCleared: "clear",
  unknown: null,
} as const;

/** Handles of one event type. */
interface TypeHandles {
  readonly received: Counter;
  /** Null for what never reaches the index. */
  readonly operation: Counter | null;
  readonly refused: Counter | null;
  readonly processed: Counter;
  readonly duration: Histogram;
}

/** Listens to one stream. Made when it is followed, released when it is dropped. */
export class StreamMetrics implements SyncListener {
  readonly #slots: MetricSlots;
  readonly #pod: OpenLabel<"pod">;
  readonly #model: OpenLabel<"model">;
  readonly #handles: (Counter | Gauge | Histogram)[] = [];
  readonly #types: Readonly<Record<EventType, TypeHandles>>;
  readonly #dropped = new Map<string, Counter>();
  readonly #unknownFields = new Map<FieldOwner, Counter>();
  readonly #insecure = new Map<ConnectionEnd | PublisherRefusal, Counter>();
  /** By socket and reason: closed lists. */
  readonly #violations = new Map<string, Counter>();
  readonly #rejected: Readonly<Record<QueueDropReason, Counter>>;
  readonly #gaps: Histogram;
  readonly #replays: Readonly<Record<ReplayStatus | "requested", Counter>>;
  readonly #connected: Counter;
  readonly #failed: Counter;
  readonly #active: Gauge;
  readonly #taken: Readonly<Record<Lane, Counter>>;
  readonly #latency: Histogram;
  readonly #propagation: Histogram;
  readonly #batchSize: Histogram;
  readonly #failures: Counter;
  readonly #wallClockSeconds: () => number;
  #messages = 0;
  /** Events of the message at hand that took effect, counted here and written once a message. */
  #stored = 0;
  #removed = 0;
  #cleared = 0;
  #timedFrom = 0;
  #timing = false;

  /**
   * @param stream - whose: worker id and model; `ingestWorker` is the ingest thread's name.
   * @param slots - of this thread.
   * @param wallClockSeconds - Unix time, comparable with engines' clocks.
   */
  constructor(
    stream: {
      readonly pod: OpenLabel<"pod">;
      readonly model: OpenLabel<"model">;
      readonly ingestWorker: OpenLabel<"worker">;
    },
    slots: MetricSlots,
    wallClockSeconds: () => number,
  ) {
    const { pod, model } = stream;
    this.#slots = slots;
    this.#pod = pod;
    this.#model = model;
    this.#wallClockSeconds = wallClockSeconds;
    const operation = (type: EventType, status: "ok" | "rejected"): Counter | null => {
      const name = OPERATIONS[type];
      if (name === null) return null;
      return this.#keep(
        slots.counter(PREFIX_INDEX_METRICS.indexerOperations, { model, operation: name, status }),
      );
    };
    this.#types = byKey(EVENT_TYPES, (event_type) => ({
      operation: operation(event_type, "ok"),
      refused: operation(event_type, "rejected"),
      received: this.#keep(slots.counter(INGEST_METRICS.eventsReceived, { pod, model, event_type })),
      processed: this.#keep(slots.counter(INGEST_METRICS.eventsProcessed, { pod, model, event_type })),
      duration: this.#keep(slots.histogram(INGEST_METRICS.eventProcessingDuration, { model, event_type })),
    }));
    this.#gaps = this.#keep(slots.histogram(INGEST_METRICS.sequenceGap, { pod, model }));
    this.#replays = byKey(["requested", "completed", "failed", "abandoned"] as const, (status) =>
      this.#keep(slots.counter(INGEST_METRICS.replayRequests, { pod, model, status })),
    );
    this.#connected = this.#keep(
      slots.counter(INGEST_METRICS.connections, { pod, model, status: "connected" }),
    );
    this.#failed = this.#keep(slots.counter(INGEST_METRICS.connections, { pod, model, status: "failed" }));
    this.#active = this.#keep(slots.gauge(INGEST_METRICS.connectionsActive, { model }));
    this.#active.set(0);
    this.#taken = byKey(["live", "replay"] as const, (lane) =>
      this.#keep(slots.counter(STREAM_METRICS.streamEvents, { model, lane })),
    );
    this.#rejected = byKey(QUEUE_DROP_REASONS, (reason) =>
      this.#keep(slots.counter(STREAM_METRICS.streamEventsRejected, { model, reason })),
    );
    this.#latency = this.#keep(slots.histogram(STREAM_METRICS.streamEventLatency, { model }));
    this.#propagation = this.#keep(slots.histogram(STREAM_METRICS.streamPropagation, { model }));
    const worker = stream.ingestWorker;
    this.#batchSize = this.#keep(slots.histogram(STREAM_METRICS.streamBatchSize, { worker }));
    const failure = { worker, error_type: "undecodable" } as const;
    this.#failures = this.#keep(slots.counter(STREAM_METRICS.streamBatchFailures, failure));
  }

  /** Ends the series that were this stream's alone. */
  release(): void {
    for (const handle of this.#handles) this.#slots.release(handle);
  }

  /** A connection attempt succeeded. */
  connected(): void {
    this.#connected.inc();
    this.#active.set(1);
  }

  /**
   * A connection was lost.
   *
   * @param reason - what of.
   */
  disconnected(reason: ConnectionEnd): void {
    this.#active.set(0);
    if (isViolation(reason)) this.violation("events", reason);
  }

  /**
   * A connection ended for what the engine sent.
   *
   * @param socket - of the engine.
   * @param reason - what it was.
   */
  violation(socket: "events" | "replay", reason: Violation): void {
    const key = `${socket} ${reason}`;
    let counter = this.#violations.get(key);
    if (counter === undefined) {
      const labels = { pod: this.#pod, model: this.#model, socket, reason };
      counter = this.#keep(this.#slots.counter(SECURITY_METRICS.protocolViolations, labels));
      this.#violations.set(key, counter);
    }
    counter.inc();
  }

  /**
   * A connection attempt failed.
   *
   * @param reason - what of.
   */
  connectionFailed(reason: ConnectionEnd): void {
    this.#failed.inc();
    if (isViolation(reason)) this.violation("events", reason);
    if (reason === "mechanism_mismatch" || reason === "curve_failed") this.#countInsecure(reason);
  }

  /**
   * A publisher was turned away where the daemon listens.
   *
   * @param reason - why.
   */
  publisherRefused(reason: PublisherRefusal | Violation): void {
    if (isViolation(reason)) this.violation("events", reason);
    else this.#countInsecure(reason);
  }

  #countInsecure(reason: PublisherRefusal | "mechanism_mismatch" | "curve_failed"): void {
    let counter = this.#insecure.get(reason);
    if (counter === undefined) {
      const labels = { pod: this.#pod, model: this.#model, reason };
      counter = this.#keep(this.#slots.counter(SECURITY_METRICS.engineHandshakes, labels));
      this.#insecure.set(reason, counter);
    }
    counter.inc();
  }

  /** A replay was asked for. */
  replayRequested(): void {
    this.#replays.requested.inc();
  }

  /**
   * A message leaves the queue; its events follow.
   *
   * @param lane - it was in.
   */
  taken(lane: Lane): void {
    this.#taken[lane].inc();
    this.#messages += 1;
    this.#timing = this.#messages % TIMED_EVERY === 0;
    if (this.#timing) this.#timedFrom = performance.now();
  }

  /**
   * A live message has been dealt with.
   *
   * @param seconds - since it was read off its socket.
   */
  applied(seconds: number): void {
    this.#latency.observe(seconds);
  }

  /**
   * The queue refused a message.
   *
   * @param reason - why.
   */
  rejected(reason: QueueDropReason): void {
    this.#rejected[reason].inc();
    this.#drop("unknown", reason).inc();
  }

  /** A message took effect. */
  messageApplied(lane: Lane, eventCount: number, timestampSeconds: number): void {
    this.#writeEvents();
    this.#batchSize.observe(eventCount);
    // Replayed messages are old by nature. Clocks may disagree: a negative age is none, and one engine's nonsense must not spoil the sum of its model.
    const age = this.#wallClockSeconds() - timestampSeconds;
    if (lane === "live") this.#propagation.observe(Math.min(Math.max(0, age), PROPAGATION_SECONDS_MAX));
  }

  /** An event took effect. */
  eventApplied(type: EventType): void {
    if (type === "BlockStored") this.#stored += 1;
    else if (type === "BlockRemoved") this.#removed += 1;
    else this.#cleared += 1;
    if (!this.#timing) return;
    const now = performance.now();
    this.#types[type].duration.observe((now - this.#timedFrom) / 1000);
    this.#timedFrom = now;
  }

  /** An event, or some of its blocks, was dropped. */
  eventDropped(type: EventType, reason: DropReason): void {
    this.#types[type].received.inc();
    if (INDEX_REFUSALS.has(reason)) this.#types[type].refused?.inc();
    this.#drop(type, reason).inc();
  }

  /** An event or batch carries a field that is not known. */
  unknownField(owner: FieldOwner): void {
    let counter = this.#unknownFields.get(owner);
    if (counter === undefined) {
      const labels = { pod: this.#pod, model: this.#model, owner };
      counter = this.#keep(this.#slots.counter(INGEST_METRICS.unknownFields, labels));
      this.#unknownFields.set(owner, counter);
    }
    counter.inc();
  }

  /** A message was dropped. */
  messageDropped(reason: DropReason): void {
    // What stood before the break has taken effect.
    this.#writeEvents();
    this.#drop("unknown", reason).inc();
    if (!NOT_WIRE_ERRORS.has(reason)) this.#failures.inc();
  }

  /** Messages were found missing. */
  gapFound(missedMessages: number): void {
    this.#gaps.observe(missedMessages);
  }

  /** A replay ended. */
  replayEnded(status: ReplayStatus): void {
    this.#replays[status].inc();
  }

  #writeEvents(): void {
    if (this.#stored > 0) addEvents(this.#types.BlockStored, this.#stored);
    if (this.#removed > 0) addEvents(this.#types.BlockRemoved, this.#removed);
    if (this.#cleared > 0) addEvents(this.#types.AllBlocksCleared, this.#cleared);
    this.#stored = 0;
    this.#removed = 0;
    this.#cleared = 0;
  }

  #drop(event_type: EventType, reason: DropReason | QueueDropReason): Counter {
    const key = `${event_type} ${reason}`;
    let counter = this.#dropped.get(key);
    if (counter === undefined) {
      const labels = { pod: this.#pod, model: this.#model, event_type, reason };
      counter = this.#keep(this.#slots.counter(INGEST_METRICS.eventsDropped, labels));
      this.#dropped.set(key, counter);
    }
    return counter;
  }

  #keep<Handle extends Counter | Gauge | Histogram>(handle: Handle): Handle {
    this.#handles.push(handle);
    return handle;
  }
}

function addEvents({ received, processed, operation }: TypeHandles, count: number): void {
  received.inc(count);
  processed.inc(count);
  operation?.inc(count);
}
