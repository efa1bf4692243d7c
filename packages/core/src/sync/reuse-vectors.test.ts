/**
 * The vectors of engines' reuse (vectors/reuse-vectors.ts), from bytes to lookups. A match is the
 * prefix that the engine itself would take from its cache, or the rank may under-report.
 */
import { expect, test } from "vitest";
import { PrefixIndex } from "../prefix-index/prefix-index.ts";
import { MATCH_ROW_WORDS } from "../prefix-index/contract.ts";
import { PrefixReader } from "../prefix-index/prefix-reader.ts";
import { EventBatchDecoder } from "../wire/event-batch-decoder.ts";
import { fromHex } from "../wire/vectors/golden-vectors.ts";
import { EventApplier } from "./event-applier.ts";
import { createSyncCounters } from "./sync-report.ts";
import { REUSE_VECTORS } from "./vectors/reuse-vectors.ts";

const RANK = 3;

function replay(messages: readonly string[]): { applier: EventApplier; reader: PrefixReader } {
  const index = PrefixIndex.create();
  const applier = new EventApplier(
    { rankSlot: RANK, model: "m", dpRank: 0, hasReplay: true },
    { index, decoder: new EventBatchDecoder(index.scratch), counters: createSyncCounters(), listener: {} },
  );
  applier.beginAt(0, true);
  messages.forEach((hex, sequenceNumber) => applier.apply(sequenceNumber, fromHex(hex)));
  expect(index.check()).toEqual([]);
  return { applier, reader: PrefixReader.attach(index.shared) };
}

/** Tokens matched in the context that knows most of them. */
function matchedTokens(reader: PrefixReader, tokens: readonly number[]): number {
  const counts = reader.contexts().map(({ id, key }) => {
    reader.tokens.set(tokens);
    const { matchCount, rows } = reader.matchTokens(id, tokens.length, false);
    return matchCount === 0 ? 0 : rows[MATCH_ROW_WORDS * (matchCount - 1) + 1] * key.blockSize;
  });
  return Math.max(0, ...counts);
}

test.each(REUSE_VECTORS)("$says: a match is what the engine reuses", ({ messages, queries }) => {
  const { applier, reader } = replay(messages);
  for (const { tokens, reused } of queries) {
    if (reused === null) expect(applier.mayUnderReport).toBe(true);
    else expect([tokens.length, matchedTokens(reader, tokens)]).toEqual([tokens.length, reused]);
  }
  const isKnown = queries.every(({ reused }) => reused !== null);
  expect([applier.mayUnderReport, applier.mayOverReport]).toEqual([!isKnown, false]);
});
