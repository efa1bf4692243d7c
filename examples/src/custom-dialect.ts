/**
 * An engine with its own event format, followed by kvsync's index. Its lines are translated into events,
 * and these are passed on as an engine of a known dialect would send them.
 *
 *     {"n": 0, "at": 1757500000, "add": [{"id": 7, "after": null, "tokens": [1, 2]}], "drop": []}
 *
 * `WorkerSync` finds gaps by the number `n` and states the trust, as it does for every engine.
 */
import {
  encodeEventBatch,
  encodeLiveFrames,
  EventBatchDecoder,
  type KvEvent,
  PrefixIndex,
  PrefixReader,
  WorkerSync,
} from "@kvsync/core";

interface Line {
  readonly n: number;
  readonly at: number;
  readonly add: readonly { readonly id: number; readonly after: number | null; readonly tokens: number[] }[];
  readonly drop: readonly number[];
}

/** Follows one engine of this format. */
export class CustomEngine {
  readonly #index = PrefixIndex.create();
  readonly #decoder = new EventBatchDecoder(this.#index.scratch);
  readonly #sync = new WorkerSync(
    { rankSlot: 0, model: "custom/model", dpRank: 0, hasReplay: false },
    { index: this.#index, decoder: this.#decoder },
  );
  readonly #reader = PrefixReader.attach(this.#index.shared, { tokensMax: 1024 });

  constructor(nowSeconds: number) {
    this.#sync.connected(nowSeconds);
  }

  /** How far the index can be trusted in what it holds of the engine. */
  get trust(): string {
    return this.#sync.trust;
  }

  /** Takes one line as it came. */
  take(text: string, nowSeconds: number): void {
    const { n, at, add, drop } = JSON.parse(text) as Line;
    const events: KvEvent[] = add.map(({ id, after, tokens }) => ({
      type: "BlockStored",
      blockHashes: [BigInt(id)],
      parentBlockHash: after === null ? null : BigInt(after),
      tokenIds: tokens,
      blockSize: tokens.length,
    }));
    if (drop.length > 0) events.push({ type: "BlockRemoved", blockHashes: drop.map(BigInt) });
    const batch = { timestampSeconds: at, events, dataParallelRank: 0 };
    this.#sync.liveMessage(encodeLiveFrames("", n, encodeEventBatch(batch, "vllm-0.26")), nowSeconds);
  }

  /** Leading blocks of a prompt that the engine holds. */
  matchedBlocks(tokens: readonly number[], blockSize: number): number {
    this.#reader.tokens.set(tokens);
    const context = this.#reader.findContext({
      model: "custom/model",
      loraName: null,
      blockSize,
      lookahead: 0,
    });
    if (context === -1) return 0;
    return this.#reader.matchTokens(context, tokens.length, false).rows[1] ?? 0;
  }
}
