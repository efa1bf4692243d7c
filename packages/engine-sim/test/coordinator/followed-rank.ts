/**
 * The daemon's view of one rank: messages go through the stream's state machine and the decoder into
 * an index, and questions through a reader, by the code that the daemon runs.
 */
import {
  encodeLiveFrames,
  EventBatchDecoder,
  MATCH_ROW_WORDS,
  PrefixIndex,
  PrefixReader,
  saltDigest,
  type Trust,
  WorkerSync,
} from "@kvsync/core";
import type { WorkPrompt } from "./workload.ts";

const MODEL = "m";
const RANK_SLOT = 3;

/** What the daemon answers. */
export interface FollowedAnswer {
  readonly usable: number;
  readonly trust: Trust;
}

/** Follows one rank. */
export class FollowedRank {
  readonly sync: WorkerSync;
  readonly #index = PrefixIndex.create({ memoryBytesMax: 64 * 1024 * 1024 });
  readonly #reader = PrefixReader.attach(this.#index.shared, { tokensMax: 4096 });
  readonly #decoder = new EventBatchDecoder(this.#index.scratch);
  #nowMs = 0;

  constructor() {
    this.sync = new WorkerSync(
      { rankSlot: RANK_SLOT, model: MODEL, dpRank: 0, hasReplay: false },
      { index: this.#index, decoder: this.#decoder },
    );
    this.sync.connected(0);
  }

  /** The three frames of a message. */
  receive(frames: readonly Uint8Array[]): void {
    this.#nowMs += 1;
    this.sync.liveMessage([...frames], this.#nowMs);
  }

  /** A payload as the next message. */
  receivePayload(sequenceNumber: number, payload: Uint8Array): void {
    this.receive(encodeLiveFrames("", sequenceNumber, payload));
  }

  ask({ tokens, loraName, cacheSalt }: WorkPrompt): FollowedAnswer {
    let usable = 0;
    const reader = this.#reader;
    for (const { id, key } of reader.contexts()) {
      if (key.loraName !== loraName) continue;
      reader.tokens.set(tokens);
      if (cacheSalt !== null) {
        reader.extraDigests.fill(0, 0, 2 * tokens.length);
        saltDigest(cacheSalt, reader, reader.extraDigests, 0);
      }
      const { rows, matchCount } = reader.matchTokens(id, tokens.length, cacheSalt !== null);
      for (let row = 0; row < matchCount; row += 1)
        usable = Math.max(usable, rows[row * MATCH_ROW_WORDS + 1]! * key.blockSize);
    }
    return { usable, trust: this.sync.trust };
  }

  close(): void {
    this.#reader.detach();
  }
}
