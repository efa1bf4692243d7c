/**
 * Answers "how many leading blocks of this prompt does each worker hold, and how far can that be trusted?"
 *
 *   query ─▶ model by its name (model-name.ts) ─▶ contexts of (model, LoRA, block size) ─▶ PrefixReader, lock-free ─▶ rows by rank slot ─▶ workers + trust
 *
 * Trust is read from the board *before* the index. A rank that is cleared in between answers with
 * fewer blocks under its older, better trust. It never answers with blocks it does not hold. The
 * flag that limits removed blocks of a rank is read from the index *after* it, for the opposite
 * reason.
 *
 * A rank whose engine has several contexts that fit (lookaheads; block sizes, when none was asked
 * for) is credited with the match of most tokens. Engines of one model do differ in block size:
 * during a rollout, by a mistake on one replica, in hybrid models. A gateway that follows tokens
 * needs no change for that.
 */

import {
  type ContextSummary,
  digestPromptKeys,
  EVICTIONS,
  type MatchResult,
  type PrefixReader,
  type Trust,
  TRUST_LEVELS,
  MATCH_ROW_WORDS,
} from "@kvsync/core";

import type { Engine } from "../engine/engine-entry.ts";
import type { EngineDirectory, RegisteredEngine } from "../engine/engine-directory.ts";
import { type FleetShard, WHOLE_FLEET } from "../engine/fleet-shard.ts";
import type { BoardReader, RankTrust } from "../board/stream-board.ts";
import { timeText } from "../clock.ts";
import type { TokenizerFailure } from "../tokenizer/tokenize-outcome.ts";
import type { MatchAnswer, WorkerMatch } from "./match-answer.ts";
import type { MatchQuery, QuestionFields } from "./match-query.ts";
import { RequestError } from "../request/request-error.ts";
import { namedModel } from "./model-name.ts";
import { reusableTokens } from "./reusable-tokens.ts";

/** What answering needs. */
export interface MatchDependencies {
  readonly reader: PrefixReader;
  readonly board: BoardReader;
  readonly registry: EngineDirectory;
  /** The part of the fleet that is followed here; all of it without one. */
  readonly shard?: FleetShard;
  /** Milliseconds since the epoch, of the board's clock. */
  readonly now: () => number;
}

/**
 * Block sizes that one lookup tries. Each costs hashing the prompt once more; a fleet has one or two. One engine brings at most
 * four (core's event-applier.ts, A8), so that it takes several that misbehave to have the others' lookups refused.
 */
const BLOCK_SIZES_MAX = 16;

/** A considered rank. */
interface Candidate {
  readonly worker: string;
  readonly dpRank: number;
  readonly rankSlot: number;
  trust: RankTrust;
  readonly engine: Engine;
}

/** What a lookup found, before it is an answer. */
interface Found {
  /** As asked, with the model and adapter that the name means. */
  readonly query: MatchQuery;
  readonly candidates: readonly Candidate[];
  readonly counts: Readonly<Record<Trust, number>>;
  readonly blockSizes: number[];
  /** The one that counts where a rank holds nothing; null when that cannot be said. */
  readonly blockSize: number | null;
  /** By rank slot. */
  readonly best: ReadonlyMap<number, RankMatch>;
}

/** What one rank of the model holds of a prompt, for callers that need no answer in full. */
export interface RankHeld {
  readonly worker: string;
  readonly dpRank: number;
  readonly matchedTokens: number;
  /** Of these, the ones below the device. */
  readonly slowTokens: number;
  /** Leading tokens in its main KV-cache group: more than `matchedTokens` where the other groups allow less. */
  readonly heldTokens: number;
  /** Tokens of a block; null while no block of the model is stored. */
  readonly blockSize: number | null;
  readonly trust: Trust;
}

/**
 * Looks up as `match` does, without the parts of an answer that only people read.
 *
 * @param asked - read by match-query.ts.
 * @param dependencies - index, board, engines, clock.
 * @returns every rank of the model, in the order of the registry. Cost: as `match`, without a sort and its texts.
 * @throws RequestError as `match`.
 */
export function heldByRank(asked: MatchQuery, dependencies: MatchDependencies): RankHeld[] {
  const { candidates, best, blockSize } = find(asked, dependencies);
  return candidates.map(({ worker, dpRank, rankSlot, trust: { trust } }) => {
    const held = best.get(rankSlot);
    if (held === undefined)
      return { worker, dpRank, matchedTokens: 0, slowTokens: 0, heldTokens: 0, blockSize, trust };
    const { host, disk, remote, heldBlocks } = held;
    return {
      worker,
      dpRank,
      matchedTokens: held.tokens,
      slowTokens: (host + disk + remote) * held.blockSize,
      heldTokens: heldBlocks * held.blockSize,
      blockSize: held.blockSize,
      trust,
    };
  });
}

/** The lookup itself; see `match`. */
function find(asked: MatchQuery, dependencies: MatchDependencies): Found {
  const { reader } = dependencies;
  const { model, loraName, engines } = namedModel(asked, dependencies);
  const query = { ...asked, model, loraName };
  const { candidates, counts } = consider(query, engines, dependencies);
  const { contexts, blockSizes } = fittingContexts(query, dependencies);
  const blockSize = query.blockSize ?? (blockSizes.length > 1 ? null : (blockSizes[0] ?? null));
  const best = new Map<number, RankMatch>();
  for (const context of contexts) keepLonger(best, run(query, context, reader), context);
  if (reader.hasGroups) for (const context of contexts) shortenWhole(best, query, context, reader);
  lowerTrustOfLosers(candidates, counts, reader);
  return { query, candidates, counts, blockSizes, blockSize, best };
}

/**
 * Answers one lookup whose input is in the reader's memory.
 *
 * @param asked - read by match-query.ts.
 * @param dependencies - index, board, engines, clock.
 * @returns the answer, a fresh object. Cost: hashing and matching, then O(ranks of the model).
 * @throws RequestError unknown_model, ambiguous_model, contradictory_fields, wrong_block_size, block_size_required.
 */
export function match(asked: MatchQuery, dependencies: MatchDependencies): MatchAnswer {
  const { query, candidates, counts, blockSizes, blockSize, best } = find(asked, dependencies);
  const worst = TRUST_LEVELS.findLastIndex((trust) => counts[trust] > 0);
  const considered = TRUST_LEVELS.reduce((sum, trust) => sum + counts[trust], 0);
  return {
    model: query.model,
    requested_model: asked.model,
    lora_name: query.loraName,
    block_size: blockSize,
    block_sizes: blockSizes,
    blocks: blockCount(query, blockSize),
    trust: TRUST_LEVELS[worst] ?? "unknown",
    decision:
      counts.exact === considered && considered > 0
        ? "exact"
        : counts.unknown === considered
          ? "fallback"
          : "degraded",
    reason: null,
    ranks: counts,
    matches: rank(query, candidates, best, blockSize, dependencies),
  };
}

/**
 * Answers a lookup whose tokens could not be had: nothing is matched, and the caller is told to route as without us.
 *
 * @param question - read by match-query.ts.
 * @param reason - why there are no tokens.
 * @param dependencies - index, board, engines, clock.
 * @returns the answer; the ranks and their trust are as they are.
 * @throws RequestError unknown_model, ambiguous_model, contradictory_fields.
 */
export function fallback(
  question: QuestionFields,
  reason: TokenizerFailure,
  dependencies: MatchDependencies,
): MatchAnswer {
  const { model, loraName, engines } = namedModel(question, dependencies);
  const { candidates, counts } = consider(question, engines, dependencies);
  const worst = TRUST_LEVELS.findLastIndex((trust) => counts[trust] > 0);
  return {
    model,
    requested_model: question.model,
    lora_name: loraName,
    block_size: null,
    block_sizes: [],
    blocks: null,
    trust: TRUST_LEVELS[worst] ?? "unknown",
    decision: "fallback",
    reason,
    ranks: counts,
    matches: rank(question, candidates, new Map(), null, dependencies),
  };
}

/**
 * The ranks that the query is about, with their trust now. A worker that was asked for and is not known counts as unknown: at the
 * shard that would follow it, so that the shards' counts add up to those of one daemon.
 */
function consider(
  query: QuestionFields,
  engines: ReadonlySet<RegisteredEngine>,
  { board, shard = WHOLE_FLEET }: Pick<MatchDependencies, "board" | "shard">,
): { candidates: Candidate[]; counts: Record<Trust, number> } {
  const counts: Record<Trust, number> = { exact: 0, partial: 0, stale: 0, unknown: 0 };
  const wanted = query.workers === null ? null : new Set(query.workers);
  const candidates: Candidate[] = [];
  const nowMs = board.now();
  for (const { engine, ranks } of engines) {
    if (wanted !== null && !wanted.delete(engine.id)) continue;
    for (const { dpRank, rankSlot } of ranks) {
      const trust = board.trust(rankSlot, nowMs);
      counts[trust.trust] += 1;
      candidates.push({ worker: engine.id, dpRank, rankSlot, trust, engine });
    }
  }
  for (const worker of wanted ?? []) if (shard.owns(worker)) counts.unknown += 1;
  return { candidates, counts };
}

/**
 * A limit may have taken blocks of a rank in a write that its worker has not finished, so that the board does not say so yet. The
 * index says so in the same moment, so after the lookup nothing that it missed is called exact.
 */
function lowerTrustOfLosers(
  candidates: readonly Candidate[],
  counts: Record<Trust, number>,
  reader: PrefixReader,
): void {
  for (const candidate of candidates) {
    const limit = candidate.trust.trust === "exact" ? reader.rankLostTo(candidate.rankSlot) : null;
    if (limit === null) continue;
    candidate.trust = { trust: "partial", reason: EVICTIONS[limit].reason };
    counts.exact -= 1;
    counts.partial += 1;
  }
}

/** A context that fits the query. */
interface FittingContext {
  readonly id: number;
  readonly blockSize: number;
  readonly lookahead: number;
}

/** What is looked in, and the block sizes of an answer. */
interface Fitting {
  readonly contexts: FittingContext[];
  readonly blockSizes: number[];
}

/**
 * The contexts to look in. With a block size they are found by name; listing all is for answers that name what is known.
 *
 * A shard whose engines use other sizes looks in nothing and names those: another shard may use the one that was asked for, and
 * a client of all shards sees when none does.
 */
function fittingContexts(query: MatchQuery, { reader, shard = WHOLE_FLEET }: MatchDependencies): Fitting {
  const { model, loraName, blockSize } = query;
  if (blockSize !== null) {
    const found = reader.findContexts({ model, loraName, blockSize });
    if (found.length > 0) return { contexts: found.map(fittingContext), blockSizes: [blockSize] };
  }
  const ours = reader.contexts().filter(({ key }) => key.model === model && key.loraName === loraName);
  const fitting = inUse(ours).map(fittingContext);
  const known = distinctBlockSizes(fitting);
  if (blockSize !== null && known.length > 0) {
    if (shard.isPart) return { contexts: [], blockSizes: known };
    throw new RequestError(
      { code: "wrong_block_size", block_size: blockSize, known },
      `block_size: no engine of ${model} uses ${blockSize}; expected one of ${known.join(", ")}`,
    );
  }
  if (known.length > BLOCK_SIZES_MAX) {
    throw new RequestError(
      { code: "block_size_required", known },
      `block_size: engines of ${model} use more than ${BLOCK_SIZES_MAX}; expected one of ${known.join(", ")}`,
    );
  }
  return { contexts: fitting, blockSizes: known };
}

/**
 * Those that hold anything: a context outlives its engines, and the sizes of rollouts that are over would be looked in, and counted, for good. While
 * none does, all there are: they tell the size before anything is stored again.
 */
function inUse(contexts: readonly ContextSummary[]): readonly ContextSummary[] {
  const holding = contexts.filter(({ prefixCount }) => prefixCount > 0);
  const sizes = new Set(contexts.map(({ key }) => key.blockSize));
  return holding.length > 0 || sizes.size > BLOCK_SIZES_MAX ? holding : contexts;
}

function fittingContext({ id, key: { blockSize, lookahead } }: ContextSummary): FittingContext {
  return { id, blockSize, lookahead };
}

/** Ascending. */
function distinctBlockSizes(contexts: readonly FittingContext[]): number[] {
  return [...new Set(contexts.map(({ blockSize }) => blockSize))].sort((a, b) => a - b);
}

/** Full blocks in the query; null when that cannot be said in one number. */
function blockCount(query: MatchQuery, blockSize: number | null): number | null {
  if (query.input === "prefix_hashes") return query.count;
  return blockSize === null ? null : Math.floor(query.count / blockSize);
}

function run(
  query: MatchQuery,
  { id, blockSize, lookahead }: FittingContext,
  reader: PrefixReader,
): MatchResult {
  if (query.input === "prefix_hashes") return reader.matchHashes(id, query.count);
  const keys = { media: query.media, salt: query.cacheSalt };
  const shape = { blockCount: Math.floor(query.count / blockSize), blockSize, lookahead };
  const hasExtra = digestPromptKeys(keys, shape, reader, reader.extraDigests);
  return reader.matchTokens(id, query.count, hasExtra);
}

/** What one rank holds of the prompt. */
interface RankMatch {
  readonly blockSize: number;
  readonly lookahead: number;
  readonly tokens: number;
  /** Blocks, as a row of MatchResult has them. */
  readonly matched: number;
  readonly device: number;
  readonly host: number;
  readonly disk: number;
  readonly remote: number;
  readonly heldBlocks: number;
  /** What all KV-cache groups allow before the prompt's last token, which is always computed. */
  reusableTokens: number;
}

/** Keeps each rank slot's match of most tokens, as numbers: the reader reuses its rows, and a copy of each would cost more. */
function keepLonger(
  best: Map<number, RankMatch>,
  result: MatchResult,
  { blockSize, lookahead }: FittingContext,
): void {
  const { rows, matchCount } = result;
  const end = matchCount * MATCH_ROW_WORDS;
  for (let at = 0; at < end; at += MATCH_ROW_WORDS) {
    const rankSlot = rows[at] ?? 0;
    const matched = rows[at + 1] ?? 0;
    const tokens = matched * blockSize;
    if (tokens <= (best.get(rankSlot)?.tokens ?? 0)) continue;
    best.set(rankSlot, {
      blockSize,
      lookahead,
      tokens,
      matched,
      device: rows[at + 2] ?? 0,
      host: rows[at + 3] ?? 0,
      disk: rows[at + 4] ?? 0,
      remote: rows[at + 5] ?? 0,
      heldBlocks: rows[at + 6] ?? 0,
      reusableTokens: tokens,
    });
  }
}

/**
 * A prompt that is held as a whole is reused up to a block before its end, and a window or state that is there at the end need
 * not be there before it: such a match is looked up again, without the last token.
 */
function shortenWhole(
  best: ReadonlyMap<number, RankMatch>,
  query: MatchQuery,
  context: FittingContext,
  reader: PrefixReader,
): void {
  const { blockSize, lookahead } = context;
  const isWhole = (one: RankMatch): boolean =>
    one.tokens === query.count && one.blockSize === blockSize && one.lookahead === lookahead;
  if (query.input !== "token_ids" || query.count === 0 || ![...best.values()].some(isWhole)) return;
  const { matchCount, rows } = run({ ...query, count: query.count - 1 }, context, reader);
  for (const one of best.values()) if (isWhole(one)) one.reusableTokens = 0;
  for (let i = 0; i < matchCount; i++) {
    const [rankSlot = 0, matched = 0] = rows.subarray(i * MATCH_ROW_WORDS);
    const one = best.get(rankSlot);
    if (one !== undefined && isWhole(one)) one.reusableTokens = matched * blockSize;
  }
}

function rank(
  query: QuestionFields,
  candidates: readonly Candidate[],
  best: ReadonlyMap<number, RankMatch>,
  blockSize: number | null,
  { board, now }: MatchDependencies,
): WorkerMatch[] {
  const nowMs = now();
  const found = candidates
    .map((candidate) => ({ candidate, held: best.get(candidate.rankSlot) ?? null }))
    .filter(({ held }) => held !== null || query.includeUnmatched)
    .sort(
      (a, b) =>
        (b.held?.tokens ?? 0) - (a.held?.tokens ?? 0) ||
        compareText(a.candidate.worker, b.candidate.worker) ||
        a.candidate.dpRank - b.candidate.dpRank,
    );
  return (query.topK === null ? found : found.slice(0, query.topK)).map(({ candidate, held }) => {
    const { trust, reason } = candidate.trust;
    const lastEventAtMs = board.lastEventAtMs(candidate.rankSlot);
    return {
      worker: candidate.worker,
      dp_rank: candidate.dpRank,
      ...heldFields(query, candidate.engine, held, blockSize),
      trust,
      trust_reason: reason,
      trust_since: timeText(board.trustSinceMs(candidate.rankSlot, reason)),
      age_seconds: Number.isNaN(lastEventAtMs) ? null : Math.max(0, (nowMs - lastEventAtMs) / 1000),
    };
  });
}

const NOTHING_HELD = {
  matched_blocks: 0,
  matched_tokens: 0,
  held_tokens: 0,
  reusable_tokens: 0,
  tiers: { device: 0, host: 0, disk: 0, remote: 0 },
} as const;

/** What a worker holds of a question, in the answer's fields; zeros for nothing. */
function heldFields(
  query: QuestionFields,
  engine: Engine,
  held: RankMatch | null,
  blockSize: number | null,
): Pick<
  WorkerMatch,
  "block_size" | "matched_blocks" | "matched_tokens" | "held_tokens" | "reusable_tokens" | "tiers"
> {
  if (held === null) return { block_size: blockSize, ...NOTHING_HELD };
  const { matched, device, host, disk, remote, heldBlocks } = held;
  return {
    block_size: held.blockSize,
    matched_blocks: matched,
    matched_tokens: held.tokens,
    held_tokens: heldBlocks * held.blockSize,
    reusable_tokens: reusable(query, engine, held),
    tiers: { device, host, disk, remote },
  };
}

function reusable(query: QuestionFields | MatchQuery, engine: Engine, held: RankMatch): number {
  const isPairs = engine.type === "sglang" && held.lookahead > 0;
  return reusableTokens(held.reusableTokens, {
    promptTokens: "input" in query && query.input === "token_ids" ? query.count : null,
    blockSize: held.blockSize,
    recomputedTokens: isPairs ? 2 : 1,
    dropsLastBlock: engine.dropsLastBlock === true,
  });
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
