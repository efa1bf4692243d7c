/**
 * The picker against router-sim. A simulated picker records 1,000 decisions with everything that they were made by. The picker is
 * given the same, and must rank alike.
 */
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { DIGEST_WORDS, PrefixIndex, PrefixReader } from "@kvsync/core";
import { afterAll, expect, it } from "vitest";

import { EndpointFleet } from "../src/picker/endpoint-fleet.ts";
import type { RankHeld } from "../src/query/match.ts";

const ROUTER_SIM = join(import.meta.dirname, "../../router-sim/dist/main.js");
const DECISIONS = 1000;
const ENGINES = 8;
const BLOCK_TOKENS = 16;
/** Tokens of a chunk that has one name in the picker's own memory. */
const CHUNK_TOKENS = 256;

/** A line of the log; each kind has some of it. */
interface Line {
  readonly kind: "fleet" | "decided" | "first_token" | "over";
  readonly engines: readonly { readonly worker: string; readonly capacityTokens: number }[];
  readonly id: number;
  readonly seconds: number;
  readonly promptTokens: number;
  /** Two words a block of 16 tokens. */
  readonly keys: readonly number[];
  readonly matches: readonly {
    readonly tokens: number;
    readonly slowTokens: number;
    readonly trust: RankHeld["trust"];
  }[];
  readonly ranking: readonly number[];
}

const folder = mkdtempSync(join(tmpdir(), "kvsync-simulated-"));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** Tokens whose blocks are equal where the simulated ones are. */
function tokensOf(keys: readonly number[], promptTokens: number): Uint32Array {
  const tokens = new Uint32Array(promptTokens);
  for (let i = 0; i < keys.length / 2; i++) tokens.set(keys.slice(2 * i, 2 * i + 2), BLOCK_TOKENS * i);
  return tokens;
}

it.each(["chat", "agents"])(
  "ranks 1,000 requests of %s as the simulated picker did",
  async (workload) => {
    const file = join(folder, `${workload}.jsonl`);
    const flags = ["--engines", `${ENGINES}`, "--event-delay-ms", "5", "--decisions", file];
    await promisify(execFile)(process.execPath, [
      ROUTER_SIM,
      ...["simulate", "--workload", workload, "--policy", "kvsync", "--seed", "1", ...flags],
    ]);
    const [head, ...lines] = readFileSync(file, "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Line);
    if (head === undefined) return expect.unreachable();
    const [{ capacityTokens } = { capacityTokens: 0 }] = head.engines;
    const fleet = new EndpointFleet({ capacityTokens, rankHeader: false });
    const model = "sim/model";
    const ranks = [{ dpRank: 0 }];
    fleet.update(
      head.engines.map(({ worker }, i) => ({ id: worker, model, ranks, http: [`10.0.0.${i}:8000`] })),
    );
    const reader = PrefixReader.attach(PrefixIndex.create().shared);
    const bases = new Set<string>();
    const firsts = new Set<number | undefined>();
    let decided = 0;
    for (const { kind, id, seconds, promptTokens, keys, matches, ranking } of lines) {
      if (kind === "first_token") fleet.firstToken(id);
      else if (kind === "over") fleet.end(id);
      else {
        const holds = matches.map(({ tokens, slowTokens, trust }, i) => ({
          worker: head.engines[i]?.worker ?? "",
          dpRank: 0,
          matchedTokens: tokens,
          slowTokens,
          heldTokens: tokens,
          blockSize: 16,
          trust,
        }));
        reader.tokens.set(tokensOf(keys, promptTokens));
        const digests = reader.digestChunks(promptTokens, CHUNK_TOKENS);
        const names = { keys: digests, keyWords: DIGEST_WORDS, keyTokens: CHUNK_TOKENS };
        const request = { workers: null, subset: null, promptTokens, names, holds };
        const outcome = fleet.pick(id, request, ENGINES, seconds);
        if (outcome.kind !== "pick") return expect.unreachable();
        expect(outcome.endpoints.map(({ position }) => position)).toEqual(ranking);
        bases.add(outcome.basis);
        firsts.add(ranking[0]);
        decided += 1;
      }
    }
    expect(decided).toBe(DECISIONS);
    expect(firsts.size).toBeGreaterThan(ENGINES / 2);
    expect([...bases]).toEqual(["index"]);
  },
  300_000,
);
