/**
 * A fleet of engines without sockets: a real registry that follows nothing, and a real board that
 * the test writes as an ingest thread does.
 */
import { createSyncCounters, type StreamState, type TrustReason, type WorkerSync } from "@kvsync/core";

import { QUEUE_DROP_REASONS } from "../../board/drop-reasons.ts";
import { BoardReader, BoardWriter, createBoardMemory } from "../../board/stream-board.ts";
import { engineEntry } from "../../engine/engine-entry.ts";
import { EngineRegistry } from "../../engine/engine-registry.ts";
import type { EncoderSources } from "../delta-encoder.ts";

/** A stream as the board is told of it. */
export interface StreamAt {
  readonly state?: StreamState;
  readonly reason?: TrustReason | null;
  readonly connected?: boolean;
  readonly sequenceNumber: number;
  readonly stored?: number;
  readonly gaps?: number;
  readonly atMs?: number;
}

/** See the head of this file. */
export class BoardFleet implements EncoderSources {
  readonly registry = new EngineRegistry(
    { follow: () => undefined, forget: () => Promise.resolve(), redial: () => undefined },
    { engines: 4096, engineFiles: 100_000, filesOf: () => 1 },
  );
  readonly writer: BoardWriter;
  readonly board: BoardReader;
  readonly reader = {
    contexts: () => [],
    rankBlockCount: (slot: number): number => this.blocks.get(slot) ?? 0,
  };
  readonly blocks = new Map<number, number>();
  /** By slot. */
  readonly tiers = new Map<number, readonly number[]>();
  /** By slot. */
  readonly rates = new Map<number, number>();
  nowMs = 1_000_000;

  constructor() {
    const memory = createBoardMemory();
    this.writer = new BoardWriter(memory, 0, () => this.nowMs);
    this.board = new BoardReader(memory, () => this.nowMs);
  }

  /** {@inheritDoc EncoderSources.tiersOf} */
  tiersOf = (_owner: unknown, rankSlot: number): readonly number[] | null => this.tiers.get(rankSlot) ?? null;

  /** {@inheritDoc EncoderSources.rateOf} */
  rateOf = (_owner: unknown, rankSlot: number): number | null => this.rates.get(rankSlot) ?? null;

  /** Registers an engine, and returns the slot of its only rank. */
  add(id: string, model = "test/model"): number {
    const port = 10_000 + this.registry.engineCount;
    const entry = engineEntry.parse({ id, model, endpoint: `tcp://${id}.example:${port}` });
    return this.registry.register(entry).registered.ranks[0]?.rankSlot ?? -1;
  }

  /** Removes one, as the ingest thread does. */
  async remove(id: string): Promise<void> {
    const slots = this.registry.engine(id)?.ranks.map(({ rankSlot }) => rankSlot) ?? [];
    for (const slot of slots) this.writer.clear(slot);
    await this.registry.remove(id);
  }

  /** Writes a stream's row. */
  tell(slot: number, at: StreamAt): void {
    const sync = {
      state: at.state ?? "live",
      trustReason: at.reason ?? null,
      trustSinceMs: at.atMs ?? this.nowMs,
      lastSequenceNumber: at.sequenceNumber,
      historyFromSequenceNumber: 0,
      lastEventAtMs: at.atMs ?? this.nowMs,
    } as unknown as WorkerSync;
    this.writer.beat();
    this.writer.position(slot, sync, at.connected ?? true);
    const counters = createSyncCounters();
    counters.eventsApplied.BlockStored = at.stored ?? 0;
    counters.gaps = at.gaps ?? 0;
    this.writer.counters(slot, counters, new Float64Array(QUEUE_DROP_REASONS.length));
  }
}
