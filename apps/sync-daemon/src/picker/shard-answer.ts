/**
 * Reads a shard's answer to a lookup as the picker needs it.
 *
 *     bytes ─▶ JSON ─▶ ranks by trust, rows ─┬─▶ rows as RankHeld
 *                                            └─▶ trust of the ranks without a row: the worst that is left
 *
 *  A1  Foreign bytes give rows or one fault, and never an exception (shard-answer.test.ts "A1").
 *  A2  A row counts only from the shard that follows its worker. An answer with another shard's worker is no
 *      answer: the addresses are in the wrong order. A worker without an endpoint has no row
 *      (shard-answer.test.ts "A2").
 *  A3  Ranks without a row have the worst trust that the answer's counts leave for them
 *      (shard-answer.test.ts "A3").
 *
 * A2 makes the rows of all shards disjoint, so that merging them is putting them side by side.
 *
 * Not here: asking (shard-lookups.ts), the answer's contract (query/match-answer.ts).
 */
import { type Trust, TRUST_LEVELS } from "@kvsync/core";

import type { RankHeld } from "../query/match.ts";

/** Answers of a daemon without an engine of the model. */
const UNKNOWN_MODEL_STATUS = 404;

/** What one shard holds of a prompt. */
export interface ShardRows {
  readonly rows: readonly RankHeld[];
  /** Of its ranks that have no row. */
  readonly restTrust: Trust;
}

/** Why an answer cannot be used. */
export type ShardAnswerFault = "status" | "malformed" | "wrong_shard";

/**
 * Reads an answer.
 *
 * @param status - of HTTP.
 * @param text - its body.
 * @param shard - that was asked.
 * @param shardOf - the shard that follows a worker; null for one that has no endpoint.
 */
export function readShardAnswer(
  status: number,
  text: string,
  shard: number,
  shardOf: (worker: string) => number | null,
): ShardRows | ShardAnswerFault {
  const answer = parsed(text);
  // Its list of engines is older or newer than ours: it holds nothing of the model.
  if (status === UNKNOWN_MODEL_STATUS && answer?.["code"] === "unknown_model")
    return { rows: [], restTrust: "unknown" };
  if (status !== 200) return "status";
  const { matches, ranks } = answer ?? {};
  if (!Array.isArray(matches) || !isRecord(ranks)) return "malformed";
  const left = TRUST_LEVELS.map((level) => countOf(ranks[level]) ?? 0);
  const rows: RankHeld[] = [];
  for (const match of matches as readonly unknown[]) {
    const row = rowOf(match);
    if (row === null) return "malformed";
    const level = TRUST_LEVELS.indexOf(row.trust);
    left[level] = (left[level] ?? 0) - 1;
    const follower = shardOf(row.worker);
    if (follower !== null && follower !== shard) return "wrong_shard";
    if (follower !== null) rows.push(row);
  }
  const worst = left.findLastIndex((count) => count > 0);
  return { rows, restTrust: TRUST_LEVELS[worst] ?? "unknown" };
}

function rowOf(match: unknown): RankHeld | null {
  if (!isRecord(match) || !isRecord(match["tiers"])) return null;
  const { worker, dp_rank, block_size, matched_tokens, held_tokens, trust, tiers } = match;
  const level = TRUST_LEVELS.find((one) => one === trust);
  const dpRank = countOf(dp_rank);
  const blockSize = countOf(block_size);
  const matchedTokens = countOf(matched_tokens);
  const heldTokens = countOf(held_tokens);
  const slowBlocks = [tiers["host"], tiers["disk"], tiers["remote"]].map(countOf);
  if (typeof worker !== "string" || level === undefined || dpRank === null || blockSize === null) return null;
  if (matchedTokens === null || heldTokens === null) return null;
  let slowTokens = 0;
  for (const blocks of slowBlocks) {
    if (blocks === null) return null;
    slowTokens += blocks * blockSize;
  }
  return { worker, dpRank, matchedTokens, slowTokens, heldTokens, blockSize, trust: level };
}

function parsed(text: string): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(text);
    return isRecord(value) ? value : null;
  } catch {
    return null;
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function countOf(value: unknown): number | null {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : null;
}
