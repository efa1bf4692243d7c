/**
 * From a message's payload to events, in order, one call of the sink each.
 *
 *     [ts, [event, event, …], data_parallel_rank?, …]        every release; slots after the third are unknown fields
 *     {"ts": …, "events": […], "data_parallel_rank": …}      a revision of vLLM's PR #42892 that never shipped
 *
 * Invariants
 *  D1  Events reach the sink in the order of the wire, each either as itself or as one fault; none is left out. A sink that
 *      takes removals joined gets those of one block each that are equal except for it as one (joined-removals.ts).
 *  D2  A bad event costs itself only: the cursor goes back to its first byte and passes over it by structure.
 *  D3  A payload whose structure is broken (cut, c1, not a batch, something behind it) throws. The
 *      events before the break have been delivered, since they were complete and true. The rest is
 *      unknown, so the follower of the stream must treat the message as lost in part.
 *  D5  A field that is not in the vocabulary and is not nil is reported to the sink after its
 *      event. (A clear ends earlier faults, not its own.) A field of a faulted event is not
 *      reported, since the fault has more details.
 *  D4  Work is linear in the payload's length, which is bounded, and faults are bounded too (wire-limits.ts).
 *  D6  Decoding may stop between two events, at the sink's wish, and other payloads may be decoded
 *      before it continues. The events are the same, in the same order.
 *
 * Decisions where the protocol is silent: `ts` may be an integer or a float32 (other encoders
 * shrink 1757500000.0) but must be finite. The rank may be anything, since the socket determines
 * it. A key that occurs twice in an event is a fault, since no engine does that and readers differ
 * on its meaning.
 */
import type {
  BatchHeader,
  DecodedBlockRemoved,
  DecodedBlockStored,
  DecodeScratch,
  KvEvent,
} from "./events.ts";
import { EventReader } from "./event-reader.ts";
import { joinRemovals } from "./joined-removals.ts";
import { MsgpackCursor } from "./msgpack-cursor.ts";
import { WireError } from "./wire-error.ts";
import { DEFAULT_WIRE_LIMITS, type WireLimits } from "./wire-limits.ts";

/** An event that could not be delivered. */
export interface EventFault {
  /** What was wrong and at which byte of the payload. */
  readonly error: WireError;
  /** Position of the event in its batch, from 0. */
  readonly eventIndex: number;
  /** Its type, or null when the event did not get as far as a known one. */
  readonly eventType: KvEvent["type"] | null;
}

/** Takes a batch's events, synchronously and in order. What it throws ends the decoding and reaches decode's caller. */
export interface EventSink {
  /** Blocks were stored. The event and the scratch are valid inside the call only. */
  onBlockStored(event: DecodedBlockStored): void;
  /** Blocks were removed. The event and the scratch are valid inside the call only. */
  onBlockRemoved(event: DecodedBlockRemoved): void;
  /**
   * Several removals of one block each. A sink that does not have this gets them one by one.
   *
   * @param event - what they have in common; `blockCount` is their number. Valid inside the call only, as the scratch.
   */
  onRemovalsJoined?(event: DecodedBlockRemoved): void;
  /** The engine's pool was reset. */
  onAllBlocksCleared(): void;
  /** An event was lost. The fault may be kept. */
  onFault(fault: EventFault): void;
  /**
   * The event that was delivered last, or the batch, carries a field that is not in this decoder's vocabulary and is not nil.
   * Called once per such field.
   *
   * @param owner - where it stands.
   * @param name - its key, or its place in an array; bounded in length and number, printable (unknown-names.ts).
   */
  onUnknownField(owner: FieldOwner, name: string): void;
  /** Asked after each event of a payload that was begun with `begin`: whether to stop for now (D6). */
  isTurnOver?(): boolean;
}

/** Where an unknown field stands. */
export type FieldOwner = KvEvent["type"] | "batch";

const BATCH_SLOTS_MIN = 2;
const BATCH_SLOTS = 3;
/** Keys of the unshipped map batch are short; longer ones are unknown. */
const BATCH_KEY_BYTES_MAX = 32;

/** A payload whose decoding stopped between two events (D6). Owned by its decoder's caller; may be dropped. */
export interface Decoding {
  readonly isUnfinished: true;
}

/** The payload at hand, and how far it is read. */
interface Batch extends Decoding {
  readonly payload: Uint8Array;
  readonly sink: EventSink;
  readonly header: BatchHeader;
  /** Whether the sink is asked when to stop. */
  readonly mayStop: boolean;
  /** Keys of a map batch that were read; null for an array. */
  readonly seen: Set<string> | null;
  readonly partCount: number;
  /** Slots or pairs that were begun. */
  partsRead: number;
  eventsRead: number;
  /** Where to go on; kept up to date when decoding stops only. */
  position: number;
}

/** Decodes event batches of every dialect. One per thread; not re-entrant: a sink must not call `decode` of its caller. */
export class EventBatchDecoder {
  readonly #limits: WireLimits;
  readonly #cursor = new MsgpackCursor();
  readonly #scratch: DecodeScratch;
  readonly #reader: EventReader;

  #isMap = false;
  #isWideMap = false;

  /**
   * @param scratch - receives tokens and hashes of the event at hand; its lengths bound an event. It is read anew per
   * event, so that its owner may exchange the arrays between events.
   * @param limits - replaces single values of {@link DEFAULT_WIRE_LIMITS}.
   */
  constructor(scratch: DecodeScratch, limits: Partial<WireLimits> = {}) {
    this.#limits = { ...DEFAULT_WIRE_LIMITS, ...limits };
    this.#scratch = scratch;
    this.#reader = new EventReader(this.#cursor, scratch, this.#limits);
  }

  /** Whether the event that the sink was last given came as a map: vLLM 0.24 and later, TensorRT-LLM, late SGLang. */
  get isMapEvent(): boolean {
    return this.#isMap;
  }

  /** Whether it came as a map with a 16-bit header, as vLLM 0.33 and later encode a store of whatever size. */
  get isWideMapEvent(): boolean {
    return this.#isWideMap;
  }

  /**
   * Decodes one payload (D1–D4). O(bytes); per event nothing is allocated unless it has extra keys or new strings.
   *
   * @param payload - the third frame of a live message or the last of a replay reply. Borrowed during the call.
   * @param sink - takes events and faults.
   * @returns what is known of the batch; the caller's.
   * @throws WireError when the payload is no batch or breaks off (D3): `truncated`, `reserved_byte`, `trailing_bytes`,
   * `payload_too_large`, `too_many_faults`, `wrong_type`, `wrong_length`, `out_of_range`, `limit_exceeded`,
   * `missing_field`, `duplicate_key`.
   */
  decode(payload: Uint8Array, sink: EventSink): BatchHeader {
    const batch = this.#open(payload, sink, false);
    this.#read(batch);
    return batch.header;
  }

  /**
   * Decodes a payload until it ends or the sink's turn is over (D6).
   *
   * @param payload - as for `decode`; borrowed until the last part.
   * @param sink - asked after each event whether its turn is over.
   * @returns what is known of the batch; or what `proceed` goes on with.
   * @throws WireError as `decode` does.
   */
  begin(payload: Uint8Array, sink: EventSink): BatchHeader | Decoding {
    const batch = this.#open(payload, sink, true);
    return this.#read(batch) ? batch.header : batch;
  }

  /**
   * Goes on with a payload. Others may have been decoded meanwhile.
   *
   * @param decoding - of this decoder.
   * @returns as `begin`.
   * @throws WireError as `decode` does; the decoding is over then.
   */
  proceed(decoding: Decoding): BatchHeader | Decoding {
    const batch = decoding as Batch;
    this.#cursor.open(batch.payload);
    this.#cursor.position = batch.position;
    return this.#read(batch) ? batch.header : batch;
  }

  #open(payload: Uint8Array, sink: EventSink, mayStop: boolean): Batch {
    const cursor = this.#cursor;
    cursor.open(payload);
    if (payload.byteLength > this.#limits.payloadBytesMax) {
      const expected = `at most ${this.#limits.payloadBytesMax} bytes`;
      throw cursor.error("payload_too_large", cursor.start, expected, `${payload.byteLength}`);
    }
    const format = cursor.format();
    const isArray = (format & 0xf0) === 0x90 || format === 0xdc || format === 0xdd;
    const isMap = (format & 0xf0) === 0x80 || format === 0xde || format === 0xdf;
    if (!isArray && !isMap) throw cursor.wrongType("a batch, array or map");
    const partCount = isArray ? cursor.readArrayLength() : cursor.readMapLength();
    if (isArray && partCount < BATCH_SLOTS_MIN) {
      throw cursor.error(
        "wrong_length",
        cursor.start,
        `a batch of at least ${BATCH_SLOTS_MIN} slots`,
        `${partCount}`,
      );
    }
    return {
      isUnfinished: true,
      payload,
      sink,
      header: {
        timestampSeconds: 0,
        dataParallelRank: null,
        eventCount: 0,
        faultCount: 0,
        mapEventCount: 0,
      },
      mayStop,
      seen: isArray ? null : new Set(),
      partCount,
      partsRead: 0,
      eventsRead: 0,
      position: 0,
    };
  }

  /** Reads to the end of the payload: true; or stops before the next part: false. */
  #read(batch: Batch): boolean {
    const cursor = this.#cursor;
    const { seen, partCount } = batch;
    if (!this.#readEvents(batch)) return false;
    while (batch.partsRead < partCount) {
      if (seen === null) this.#readSlot(batch);
      else this.#readPair(batch, seen);
      if (!this.#readEvents(batch)) return false;
    }
    if (seen !== null) this.#checkKeys(seen);
    if (cursor.position !== cursor.end) {
      const actual = `${cursor.end - cursor.position} bytes behind it`;
      throw cursor.error("trailing_bytes", cursor.position, "one batch", actual);
    }
    return true;
  }

  #checkKeys(seen: ReadonlySet<string>): void {
    const cursor = this.#cursor;
    for (const key of ["ts", "events"]) {
      if (!seen.has(key))
        throw cursor.error("missing_field", cursor.start, `the key ${key}`, "a map without it");
    }
  }

  #readSlot(batch: Batch): void {
    const slot = batch.partsRead;
    batch.partsRead += 1;
    if (slot === 0) this.#readTimestamp(batch);
    else if (slot === 1) this.#beginEvents(batch);
    else if (slot < BATCH_SLOTS) this.#readRank(batch);
    else if (!this.#cursor.takeNil()) {
      this.#cursor.skip();
      batch.sink.onUnknownField("batch", this.#reader.unknown.slot(slot));
    }
  }

  #readPair(batch: Batch, seen: Set<string>): void {
    const cursor = this.#cursor;
    batch.partsRead += 1;
    const start = cursor.position;
    const key = this.#readBatchKey();
    if (key !== null && seen.has(key)) {
      throw cursor.error("duplicate_key", start, `the key ${key} once`, "it again");
    }
    if (key === "ts") this.#readTimestamp(batch);
    else if (key === "events") this.#beginEvents(batch);
    else if (key === "data_parallel_rank") this.#readRank(batch);
    else {
      this.#passUnknown(batch.sink, start);
      return;
    }
    seen.add(key);
  }

  /** Passes over the value of a key of a map batch that is not known, and says so unless it is nil. */
  #passUnknown(sink: EventSink, keyStart: number): void {
    const cursor = this.#cursor;
    const keyEnd = cursor.position;
    if (cursor.takeNil()) return;
    cursor.skip();
    sink.onUnknownField("batch", this.#reader.unknown.key(cursor.bytes, keyStart, keyEnd));
  }

  /** Reads a key of a map batch; null when it is none of ours for certain. Ours are ASCII, so that bytes are letters. */
  #readBatchKey(): string | null {
    const cursor = this.#cursor;
    const format = cursor.format();
    const isText = (format & 0xe0) === 0xa0 || (format >= 0xd9 && format <= 0xdb);
    if (!isText) {
      cursor.skip();
      return null;
    }
    const length = cursor.readTextLength();
    const start = cursor.position;
    cursor.position = start + length;
    if (length > BATCH_KEY_BYTES_MAX) return null;
    return String.fromCharCode(...cursor.bytes.subarray(start, start + length));
  }

  #readTimestamp({ header }: Batch): void {
    const cursor = this.#cursor;
    const start = cursor.position;
    const seconds = cursor.readNumber();
    if (!Number.isFinite(seconds)) {
      throw cursor.error("out_of_range", start, "a finite timestamp in seconds", `${seconds}`);
    }
    header.timestampSeconds = seconds;
  }

  /** The rank is only compared with the socket's, so that none that a batch can name costs the batch. */
  #readRank({ header }: Batch): void {
    const cursor = this.#cursor;
    if (cursor.takeNil()) return;
    const start = cursor.position;
    try {
      header.dataParallelRank = cursor.readNumber();
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      // Throws when the structure is broken.
      cursor.position = start;
      cursor.skip();
      header.dataParallelRank = Number.NaN;
    }
  }

  #beginEvents({ header }: Batch): void {
    const cursor = this.#cursor;
    const start = cursor.position;
    const count = cursor.readArrayLength();
    if (count > this.#limits.eventsMax) {
      throw cursor.error("limit_exceeded", start, `at most ${this.#limits.eventsMax} events`, `${count}`);
    }
    header.eventCount = count;
  }

  /** Reads the events that are left: true; or stops between two: false. */
  #readEvents(batch: Batch): boolean {
    const { sink, header, mayStop } = batch;
    for (let eventIndex = batch.eventsRead; eventIndex < header.eventCount; ) {
      eventIndex += this.#readNextEvent(sink, header, eventIndex);
      if (!mayStop || sink.isTurnOver?.() !== true) continue;
      batch.eventsRead = eventIndex;
      batch.position = this.#cursor.position;
      return false;
    }
    batch.eventsRead = header.eventCount;
    return true;
  }

  /** Reads an event, or several that are joined; returns how many. */
  #readNextEvent(sink: EventSink, header: BatchHeader, eventIndex: number): number {
    const cursor = this.#cursor;
    const reader = this.#reader;
    const eventStart = cursor.position;
    const type = this.#readEvent(sink, header, eventIndex, eventStart);
    if (type === null) return 1;
    const format = cursor.bytes[eventStart];
    this.#isWideMap = format === 0xde;
    this.#isMap = (format & 0xf0) === 0x80 || format === 0xde || format === 0xdf;
    if (this.#isMap) header.mapEventCount += 1;
    // Outside of any catch: what a sink throws is not the event's fault.
    if (type === "BlockStored") sink.onBlockStored(reader.stored);
    else if (type === "BlockRemoved") return this.#deliverRemoval(sink, header, eventIndex, eventStart);
    else sink.onAllBlocksCleared();
    if (reader.unknownCount > 0) this.#reportUnknown(sink, type);
    return 1;
  }

  /** Delivers a removal, with those behind it that can be joined to it; returns how many events that were. */
  #deliverRemoval(sink: EventSink, header: BatchHeader, eventIndex: number, eventStart: number): number {
    const { removed, hashesAt, unknownCount } = this.#reader;
    const left = header.eventCount - eventIndex - 1;
    const mayJoin = sink.onRemovalsJoined !== undefined && unknownCount === 0 && left > 0;
    const joined = mayJoin ? joinRemovals(this.#cursor, eventStart, hashesAt, this.#scratch.hashes, left) : 0;
    if (joined > 0) {
      removed.blockCount += joined;
      if (this.#isMap) header.mapEventCount += joined;
      sink.onRemovalsJoined?.(removed);
    } else sink.onBlockRemoved(removed);
    if (unknownCount > 0) this.#reportUnknown(sink, "BlockRemoved");
    return 1 + joined;
  }

  #reportUnknown(sink: EventSink, type: KvEvent["type"]): void {
    const { unknownNames, unknownCount } = this.#reader;
    for (let index = 0; index < unknownCount; index += 1) sink.onUnknownField(type, unknownNames[index]);
  }

  /** Reads one event; null when it became a fault (D2). */
  #readEvent(
    sink: EventSink,
    header: BatchHeader,
    eventIndex: number,
    eventStart: number,
  ): KvEvent["type"] | null {
    try {
      return this.#reader.read();
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      const cursor = this.#cursor;
      // Throws when the structure is broken: then it is no event's fault but the payload's.
      cursor.position = eventStart;
      cursor.skip();
      header.faultCount += 1;
      if (header.faultCount > this.#limits.faultsMax) {
        const expected = `at most ${this.#limits.faultsMax} bad events in a batch`;
        throw cursor.error("too_many_faults", eventStart, expected, "one more");
      }
      sink.onFault({ error, eventIndex, eventType: this.#reader.eventType });
      return null;
    }
  }
}
