/**
 * Engine and core against each other, on the bytes. Every batch is encoded in its dialect and taken
 * through core's stream state machine and decoder into its index. Then the index must hold exactly
 * the engine's blocks, copies counted, while the stream stays `exact`. The two sides share the
 * encoder's and the hasher's code and nothing else.
 *
 * A dialect that names adapters by number only is read back under that number.
 */
import {
  type Dialect,
  DUMP_ROW_WORDS,
  DIALECTS,
  encodeEventBatch,
  encodeLiveFrames,
  encodeReplayEnd,
  EventBatchDecoder,
  PrefixIndex,
  PrefixReader,
  Prng,
  toHex,
  WorkerSync,
} from "@kvsync/core";
import { expect, test } from "vitest";
import { voiceOf } from "../src/dialect.ts";
import type { EngineSettings, NumberedBatch } from "../src/engine-contract.ts";
import { SimulatedEngine } from "../src/simulated-engine.ts";

const RANK_SLOT = 3;
const MODEL = "m";
const REQUESTS = 60;

/** Core's side of one stream: fed with batches, asked for rows. */
class CoreListener {
  readonly #index = PrefixIndex.create({ memoryBytesMax: 16 * 1024 * 1024 });
  readonly #reader = PrefixReader.attach(this.#index.shared, { tokensMax: 1024 });
  readonly #dialect: Dialect;
  readonly sync: WorkerSync;

  constructor(dialect: Dialect) {
    this.#dialect = dialect;
    this.sync = new WorkerSync(
      // No request asks this engine for a report, so that copies can be compared; and it has no drafter.
      {
        rankSlot: RANK_SLOT,
        model: MODEL,
        dpRank: 0,
        hasReplay: true,
        reportMode: "delta",
        dropsLastBlock: false,
      },
      { index: this.#index, decoder: new EventBatchDecoder(this.#index.scratch) },
    );
    this.sync.connected(0);
    const action = this.sync.takeAction();
    if (action?.kind === "request_replay")
      this.sync.replayMessage(action.attempt, encodeReplayEnd(new Uint8Array(0), "plain").slice(1), 0);
  }

  receive(batch: NumberedBatch | null): void {
    if (batch === null) return;
    const payload = encodeEventBatch(batch.batch, this.#dialect);
    this.sync.liveMessage(encodeLiveFrames("", batch.sequenceNumber, payload), 1);
  }

  rows(engine: SimulatedEngine): string[] {
    const form = DIALECTS[this.#dialect].stored;
    const fields: readonly string[] = [...form.required, ...form.optional];
    const out = new Uint32Array(DUMP_ROW_WORDS * 4096);
    const { blockSize, loraNames } = engine.settings;
    return [null, ...loraNames]
      .flatMap((loraName, number) => {
        const onWire = loraName === null || fields.includes("lora_name") ? loraName : `id:${number}`;
        const id = this.#reader.findContext({ model: MODEL, loraName: onWire, blockSize, lookahead: 0 });
        if (id < 0) return [];
        const { rows, cursor } = this.#reader.dump(id, 0, out);
        expect(cursor).toBe(-1);
        // Other KV-cache groups of the rank have holder slots of their own; the engine's contents are its main group's.
        return Array.from({ length: rows }, (_, row) => {
          const [low, high, rank, tier, copies] = out.subarray(row * DUMP_ROW_WORDS);
          return rank === RANK_SLOT
            ? [`${loraName} ${toHex(low!, high!)} rank ${rank} tier ${tier} × ${copies}`]
            : [];
        }).flat();
      })
      .sort();
  }
}

function rowsOf(engine: SimulatedEngine): string[] {
  const { contexts, rowCount, contextOf, prefixHashes, tierOf } = engine.contents();
  const copies = new Map<string, number>();
  for (let row = 0; row < rowCount; row++) {
    const hash = toHex(prefixHashes[row * 2]!, prefixHashes[row * 2 + 1]!);
    const key = `${contexts[contextOf[row]!]!.loraName} ${hash} rank ${RANK_SLOT} tier ${tierOf[row]}`;
    copies.set(key, (copies.get(key) ?? 0) + 1);
  }
  return [...copies].map(([key, count]) => `${key} × ${count}`).sort();
}

function settingsOf(dialect: Dialect, seed: number, random: Prng): EngineSettings {
  const voice = voiceOf(dialect);
  return {
    id: "engine",
    model: MODEL,
    dialect,
    blockSize: 1 + random.below(5),
    blockCount: 10 + random.below(30),
    maxBatchedTokens: 1 + random.below(40),
    maxSequences: 6,
    loraNames: voice.adapters ? ["adapter-a", "adapter-b"] : [],
    hostBlockCount: voice.media.host === null ? 0 : random.pick([0, 5, 20]),
    hostSelfDescribing: voice.family === "sglang" || seed % 3 === 0,
    hashForm: voice.digestHashes && seed % 2 === 0 ? "bytes" : "int",
    slidingWindowTokens: voice.kinds && seed % 3 === 1 ? 4 : 0,
  };
}

test.each(Object.keys(DIALECTS) as Dialect[])(
  "an index fed with the bytes of %s holds what the engine holds",
  (dialect) => {
    const voice = voiceOf(dialect);
    let compared = 0;
    for (let seed = 0; seed < 6; seed++) {
      const random = new Prng(seed);
      const engine = new SimulatedEngine(settingsOf(dialect, seed, random));
      const listener = new CoreListener(dialect);
      const tokensMax = engine.settings.blockCount * engine.settings.blockSize - 8;
      let last = new Uint32Array(0);
      let wasReset = false;
      for (let id = 0, step = 0; id < REQUESTS || engine.hasWork; step++) {
        if (id < REQUESTS && random.chance(0.6)) {
          const kept = last.subarray(0, random.below(last.length + 1));
          const fresh = Uint32Array.from({ length: 1 + random.below(12) }, () => random.below(3) * 40_000);
          last = Uint32Array.of(...kept, ...fresh).slice(0, tokensMax);
          const cacheSalt = voice.salts || voice.extraKeys ? random.pick([null, "tenant"]) : null;
          const loraName = random.pick([null, ...engine.settings.loraNames]);
          engine.submit(
            { id: id++, promptTokens: last, output: { count: 4, seed: id }, loraName, cacheSalt },
            step,
          );
        }
        const reset = random.chance(0.02) ? engine.reset(step) : null;
        listener.receive(reset);
        wasReset ||= reset !== null;
        listener.receive(engine.step(step).batch);
        if (step % 8 !== 0 && engine.hasWork) continue;
        const rows = rowsOf(engine);
        compared += rows.length;
        const { trustReason } = listener.sync;
        expect({ seed, step, rows: listener.rows(engine) }).toEqual({ seed, step, rows });
        const { hostBlockCount, hostSelfDescribing } = engine.settings;
        const allowed: (typeof trustReason)[] = [null];
        // A clear names no pool: after one, copies on the host of vLLM may be left, for all that a listener knows.
        if (wasReset && hostBlockCount > 0) allowed.push("ambiguous_clear");
        // A copy on the host without tokens does not say how many blocks it spans.
        if (hostBlockCount > 0 && !hostSelfDescribing) allowed.push("unit_size_unknown");
        expect(allowed).toContain(trustReason);
      }
    }
    expect(compared).toBeGreaterThan(1000);
  },
);
