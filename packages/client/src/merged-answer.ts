/**
 * Answers of the shards of a fleet, made into the one that a daemon of the whole fleet would give.
 *
 *   rows by worker ─▶ one list, most matched tokens first, cut at top_k
 *   ranks by trust ─▶ sums ─▶ trust, decision
 *   block sizes    ─▶ all of them, ascending
 *
 * Rules (sharded-client.test.ts)
 *  G1  A rank stands once. Two shards have the same one while the number of shards changes: the better trust counts, then the
 *      longer match.
 *  G2  What is missing may hold more than what is there: the trust is at most `partial`, and `exact` becomes `degraded`.
 *  G3  A shard whose prompt could not be tokenized is missing. When that is so at every shard, the answer is that fallback.
 *  G4  One daemon refuses a name of several models (`ambiguous_model`), and a block size that no engine
 *      uses (`wrong_block_size`). So does the merge.
 */

import { ClientError, type ShardFailure } from "./client-error.ts";
import type { MatchAnswer, Question, Trust, WorkerMatch } from "./match-types.ts";

/** From the best to the worst. */
const TRUSTS: readonly Trust[] = ["exact", "partial", "stale", "unknown"];

/** An answer of all shards, or of those that answered. */
export interface ShardedAnswer extends MatchAnswer {
  /** Shards whose workers are not in the answer; none when it is complete. */
  missing: ShardFailure[];
}

/** What one shard answered. */
export interface ShardAnswer {
  readonly shard: number;
  readonly answer: MatchAnswer;
}

/**
 * Makes one answer of those of the shards.
 *
 * @param question - as it was asked.
 * @param answers - at least one.
 * @param failures - shards without an answer.
 * @returns a fresh object. Cost: O(rows × log rows).
 * @throws ClientError refused, with `ambiguous_model` or `wrong_block_size`.
 */
export function mergeAnswers(
  question: Question,
  answers: readonly ShardAnswer[],
  failures: readonly ShardFailure[],
): ShardedAnswer {
  // G3.
  const looked = answers.filter(({ answer }) => answer.reason === null);
  const used = looked.length === 0 ? answers : looked;
  const [first] = used;
  if (first === undefined) throw new TypeError("answers: expected at least one");
  const missing = [...failures, ...answers.filter((one) => !used.includes(one)).map(untokenized)];
  refuseSeveralModels(question, used);
  const blockSizes = mergedBlockSizes(question, used);
  const blockSize = question.blockSize ?? (blockSizes.length === 1 ? (blockSizes[0] ?? null) : null);
  const { counts, rows } = mergedRows(used);
  const matches = rows.map((row) => (row.held_tokens === 0 ? { ...row, block_size: blockSize } : row));
  const { model, requested_model, lora_name, reason } = first.answer;
  return {
    model,
    requested_model: question.model === model ? requested_model : question.model,
    lora_name,
    block_size: blockSize,
    block_sizes: blockSizes,
    blocks: blocksOf(question, used, blockSize),
    trust: worst(counts, missing.length > 0),
    decision: reason === null ? decisionOf(counts, missing.length > 0) : "fallback",
    reason,
    ranks: counts,
    matches: question.topK === undefined ? matches : matches.slice(0, question.topK),
    missing: missing.sort((a, b) => a.shard - b.shard),
  };
}

/** Of hashes every shard counts the same; of tokens the number is that of the block size. */
function blocksOf(question: Question, used: readonly ShardAnswer[], blockSize: number | null): number | null {
  if ("prefixHashes" in question) return used[0]?.answer.blocks ?? null;
  if (blockSize === null) return null;
  return used.find(({ answer }) => answer.block_size === blockSize)?.answer.blocks ?? null;
}

function untokenized({ shard, answer }: ShardAnswer): ShardFailure {
  return { shard, url: null, facts: { code: "not_tokenized", reason: answer.reason } };
}

/** G4. */
function refuseSeveralModels(question: Question, used: readonly ShardAnswer[]): void {
  const known = [...new Set(used.map(({ answer }) => answer.model))].sort();
  if (known.length < 2) return;
  const { model } = question;
  const detail = `model ${JSON.stringify(model)}: several models have this name; expected one of ${known.join(", ")}`;
  throw refused({ code: "ambiguous_model", status: 422, detail, model, known });
}

/** G4. A shard whose engines use other sizes names those, where one was asked for. */
function mergedBlockSizes(question: Question, used: readonly ShardAnswer[]): number[] {
  const all = [...new Set(used.flatMap(({ answer }) => answer.block_sizes))].sort((a, b) => a - b);
  const { blockSize, model } = question;
  if (blockSize === undefined || all.length === 0) return all;
  if (all.includes(blockSize)) return [blockSize];
  const detail = `block_size: no engine of ${model} uses ${blockSize}; expected one of ${all.join(", ")}`;
  throw refused({ code: "wrong_block_size", status: 422, detail, block_size: blockSize, known: all });
}

function refused(problem: {
  readonly code: string;
  readonly status: number;
  readonly detail: string;
  readonly [fact: string]: unknown;
}): ClientError {
  return new ClientError({ code: "refused", status: problem.status, problem }, problem.detail);
}

/** Rows in the order of an answer, and the ranks by trust. */
function mergedRows(used: readonly ShardAnswer[]): {
  readonly counts: Record<Trust, number>;
  readonly rows: readonly WorkerMatch[];
} {
  const counts: Record<Trust, number> = { exact: 0, partial: 0, stale: 0, unknown: 0 };
  const rows = new Map<string, WorkerMatch>();
  for (const { answer } of used) {
    for (const trust of TRUSTS) counts[trust] += answer.ranks[trust];
    for (const row of answer.matches) {
      const key = JSON.stringify([row.worker, row.dp_rank]);
      const other = rows.get(key);
      if (other === undefined) rows.set(key, row);
      else {
        // G1: one of the two counts.
        const [better, worse] = isBetter(row, other) ? [row, other] : [other, row];
        rows.set(key, better);
        counts[worse.trust] -= 1;
      }
    }
  }
  const sorted = [...rows.values()].sort(
    (a, b) => b.matched_tokens - a.matched_tokens || compareText(a.worker, b.worker) || a.dp_rank - b.dp_rank,
  );
  return { counts, rows: sorted };
}

function isBetter(one: WorkerMatch, other: WorkerMatch): boolean {
  const difference = TRUSTS.indexOf(one.trust) - TRUSTS.indexOf(other.trust);
  return difference < 0 || (difference === 0 && one.matched_tokens > other.matched_tokens);
}

/** G2. */
function worst(counts: Readonly<Record<Trust, number>>, isIncomplete: boolean): Trust {
  const found = TRUSTS.findLast((trust) => counts[trust] > 0) ?? "unknown";
  return found === "exact" && isIncomplete ? "partial" : found;
}

/** As a daemon decides, over the ranks of all shards. */
function decisionOf(counts: Readonly<Record<Trust, number>>, isIncomplete: boolean): MatchAnswer["decision"] {
  const considered = TRUSTS.reduce((sum, trust) => sum + counts[trust], 0);
  if (counts.unknown === considered) return "fallback";
  return counts.exact === considered && !isIncomplete ? "exact" : "degraded";
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
