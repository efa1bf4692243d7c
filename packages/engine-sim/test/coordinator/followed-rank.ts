/**
 * The daemon's view of one rank, by the code that the daemon runs. Messages go through the stream's
 * state machine and the decoder into an index, and questions through a reader.
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
  type ReportMode,
} from "@kvsync/core";
import type { WorkPrompt } from "./workload.ts";

const MODEL = "m";
const RANK_SLOT = 3;

/** What the daemon answers. */
export interface FollowedAnswer {
  /** Leading tokens that the rank holds in a way that an engine can use. */
  readonly usable: number;
  /** Of them, what a request with this prompt skips: at least its last token is computed. */
  readonly reusable: number;
  readonly trust: Trust;
}

/** What an engine's entry says that its events do not. */
export interface RankFacts {
  /** What the operator says of reports; `auto` unless given. */
  readonly reportMode?: ReportMode;
  /** Whether the last matched block is dropped for a drafter; left out where the operator does not say. */
  readonly dropsLastBlock?: boolean | undefined;
  /** A block with lookahead is reused only where a further token follows (SGLang's pairs). */
  readonly recomputesPair?: boolean;
  /** Adapters are asked for by number, as with vLLM before 0.14. */
  readonly adapterIdOf?: (name: string) => number;
}

/** Follows one rank. */
export class FollowedRank {
  readonly sync: WorkerSync;
  readonly #index = PrefixIndex.create({ memoryBytesMax: 64 * 1024 * 1024 });
  readonly #reader = PrefixReader.attach(this.#index.shared, { tokensMax: 4096 });
  readonly #decoder = new EventBatchDecoder(this.#index.scratch);
  #nowMs = 0;

  readonly #facts: RankFacts;

  constructor(facts: RankFacts = {}) {
    this.#facts = facts;
    this.sync = new WorkerSync(
      {
        rankSlot: RANK_SLOT,
        model: MODEL,
        dpRank: 0,
        hasReplay: false,
        reportMode: facts.reportMode,
        dropsLastBlock: facts.dropsLastBlock,
      },
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

  ask(prompt: WorkPrompt): FollowedAnswer {
    const { length } = prompt.tokens;
    const usable = this.#match(prompt, () => length);
    // A block with lookahead is found only where its lookahead is; another one only if a token follows.
    const recomputes = this.#facts.recomputesPair === true;
    const reusable = this.#match(prompt, (lookahead) => (lookahead > 0 && !recomputes ? length : length - 1));
    return { usable, reusable, trust: this.sync.trust };
  }

  #match({ tokens, loraName, cacheSalt }: WorkPrompt, lengthFor: (lookahead: number) => number): number {
    const reader = this.#reader;
    const { adapterIdOf, dropsLastBlock } = this.#facts;
    const adapter = loraName === null || adapterIdOf === undefined ? loraName : `id:${adapterIdOf(loraName)}`;
    let most = 0;
    for (const { id, key } of reader.contexts()) {
      if (key.loraName !== adapter) continue;
      reader.tokens.set(tokens);
      if (cacheSalt !== null) {
        reader.extraDigests.fill(0, 0, 2 * tokens.length);
        saltDigest(cacheSalt, reader, reader.extraDigests, 0);
      }
      const { rows, matchCount } = reader.matchTokens(id, lengthFor(key.lookahead), cacheSalt !== null);
      for (let row = 0; row < matchCount; row += 1) {
        const blocks = rows[row * MATCH_ROW_WORDS + 1]! - (dropsLastBlock === true ? 1 : 0);
        most = Math.max(most, blocks * key.blockSize);
      }
    }
    return most;
  }

  close(): void {
    this.#reader.detach();
  }
}
