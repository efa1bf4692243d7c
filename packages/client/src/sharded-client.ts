/**
 * Asks every shard of a fleet that is split over several daemons, and makes one answer.
 *
 *   question ─┬─▶ shard 0: replica a ─ too late ─▶ replica b ─▶ answer ─┐
 *             │                                                         ├─▶ merged, with what is missing
 *             └─▶ shard 1: replica c ─ failed ─▶ replica d ─ failed ────┘
 *
 * Invariants (sharded-client.test.ts)
 *  S1  A call ends at its deadline. Each replica of a shard has an equal share of what is left of it. So a
 *      silent one leaves time for the next.
 *  S2  A shard without an answer is named in `missing`, and the answer is at most `degraded`. Only when no
 *      shard answers, the call rejects.
 *  S3  A question that one shard refuses as wrong is wrong at every shard. The call rejects with that
 *      refusal, and no other replica is asked.
 *  S4  A replica that failed is asked last for a second. Otherwise replicas take turns.
 *
 * A name that is an adapter only by the blocks that some shards hold is unknown to the others. They are asked again with the model
 * and the adapter that it means.
 */

import { ClientError, FleetError, type ShardFailure } from "./client-error.ts";
import { type CallOptions, KvsyncClient } from "./kvsync-client.ts";
import type { MatchAnswer, Question } from "./match-types.ts";
import { mergeAnswers, type ShardedAnswer } from "./merged-answer.ts";

/** A lookup over the network that takes longer costs a request more than it can win. */
const TIMEOUT_MS = 100;
/** How long a replica that failed is asked last. */
const AVOID_MS = 1000;
/** Statuses of refusals that depend on the daemon, and not on the question. */
const OF_THE_DAEMON: ReadonlySet<number> = new Set([401, 403, 408, 421, 429]);

/** How to reach the shards. */
export interface ShardedClientOptions {
  /** By index: the address of each shard, or those of its replicas. */
  readonly shards: readonly (string | readonly string[])[];
  /** Longest wait for the whole answer; 100 ms unless told. */
  readonly timeoutMs?: number | undefined;
  /** Bearer token, where the daemons want one. */
  readonly token?: string | undefined;
}

/** One daemon of a shard. */
interface Replica {
  readonly url: string;
  readonly client: KvsyncClient;
  /** Until when it is asked last, on the clock of `performance`. */
  avoidedUntilMs: number;
}

/** What a shard answered. */
type Outcome =
  | { readonly kind: "answer"; readonly shard: number; readonly answer: MatchAnswer }
  /** It serves no model of that name. */
  | { readonly kind: "unknown"; readonly shard: number; readonly error: ClientError }
  | { readonly kind: "failed"; readonly failure: ShardFailure };

/** The shards of one fleet. Holds no resources of its own. */
export class ShardedClient {
  readonly #shards: readonly (readonly Replica[])[];
  readonly #timeoutMs: number;
  #turn = 0;

  /**
   * @param options - where the shards are.
   * @throws TypeError as KvsyncClient does, and without a shard or a replica.
   */
  constructor({ shards, timeoutMs = TIMEOUT_MS, token }: ShardedClientOptions) {
    this.#timeoutMs = timeoutMs;
    this.#shards = shards.map((addresses) =>
      (typeof addresses === "string" ? [addresses] : addresses).map((url) => ({
        url,
        client: new KvsyncClient({ url, token }),
        avoidedUntilMs: 0,
      })),
    );
    const lonely = this.#shards.findIndex((replicas) => replicas.length === 0);
    if (shards.length === 0) throw new TypeError("shards: expected at least one");
    if (lonely >= 0) throw new TypeError(`shards[${lonely}]: expected at least one address`);
  }

  /**
   * Asks who holds how much of a prompt, over the whole fleet.
   *
   * @param question - as for one daemon. Give tokens: each shard has text tokenized by itself.
   * @param call - signal, deadline and headers of this call.
   * @returns the answer that one daemon of the whole fleet would give, and what is missing of it. Cost: a request for each shard.
   * @throws FleetError no_shard when none answers; ClientError refused when the question is wrong; RangeError as KvsyncClient; whatever the
   *   caller's signal was aborted with.
   */
  async match(question: Question, call: CallOptions = {}): Promise<ShardedAnswer> {
    const deadlineMs = performance.now() + (call.timeoutMs ?? this.#timeoutMs);
    this.#turn += 1;
    const all = this.#shards.map((_, shard) => shard);
    const first = await Promise.all(all.map((shard) => this.#ask(shard, question, call, deadlineMs)));
    const outcomes = await this.#askAgain(first, question, call, deadlineMs);
    const answers = outcomes.flatMap((one) => (one.kind === "answer" ? [one] : []));
    const missing = outcomes.flatMap((one) => (one.kind === "failed" ? [one.failure] : []));
    if (answers.length > 0) return mergeAnswers(question, answers, missing);
    const unknown = outcomes.find((one) => one.kind === "unknown");
    // With a shard missing it is unknown whether the model is served.
    if (unknown !== undefined && missing.length === 0) throw unknown.error;
    throw noShard(missing, all.length);
  }

  /** Asks shards that do not know a name with what it means elsewhere. */
  async #askAgain(
    outcomes: readonly Outcome[],
    question: Question,
    call: CallOptions,
    deadlineMs: number,
  ): Promise<readonly Outcome[]> {
    const known = outcomes.find((one) => one.kind === "answer")?.answer;
    if (known === undefined || known.model === question.model) return outcomes;
    // Of an alias, shards know the model, and their engines may be without it.
    if (known.lora_name === null) return outcomes;
    const meant = { ...question, model: known.model, loraName: known.lora_name };
    return Promise.all(
      outcomes.map((one) =>
        one.kind === "unknown" ? this.#ask(one.shard, meant, call, deadlineMs) : Promise.resolve(one),
      ),
    );
  }

  /** Asks the replicas of a shard, one after the other, until one answers (S1, S4). */
  async #ask(shard: number, question: Question, call: CallOptions, deadlineMs: number): Promise<Outcome> {
    const waiting = this.#inTurn(this.#shards[shard] ?? []);
    let failure: ShardFailure | null = null;
    for (let left = waiting.length; left > 0; left--) {
      const replica = waiting[waiting.length - left];
      const timeoutMs = Math.floor((deadlineMs - performance.now()) / left);
      if (replica === undefined || timeoutMs < 1) break;
      try {
        const answer = await replica.client.match(question, { ...call, timeoutMs });
        replica.avoidedUntilMs = 0;
        return { kind: "answer", shard, answer };
      } catch (error) {
        if (!(error instanceof ClientError)) throw error;
        if (isUnknownModel(error)) return { kind: "unknown", shard, error };
        if (isRefusedQuestion(error)) throw error;
        replica.avoidedUntilMs = performance.now() + AVOID_MS;
        failure = { shard, url: replica.url, facts: error.facts };
      }
    }
    const [first] = waiting;
    const facts = { code: "timeout", timeoutMs: 0 } as const;
    return { kind: "failed", failure: failure ?? { shard, url: first?.url ?? "", facts } };
  }

  /** Replicas in the order to ask them. */
  #inTurn(replicas: readonly Replica[]): readonly Replica[] {
    const start = this.#turn % replicas.length;
    const turned = [...replicas.slice(start), ...replicas.slice(0, start)];
    const nowMs = performance.now();
    const isAvoided = (replica: Replica): boolean => replica.avoidedUntilMs > nowMs;
    return [...turned.filter((one) => !isAvoided(one)), ...turned.filter(isAvoided)];
  }
}

function isUnknownModel({ facts }: ClientError): boolean {
  return facts.code === "refused" && facts.problem.code === "unknown_model";
}

/** S3. */
function isRefusedQuestion({ facts }: ClientError): boolean {
  return (
    facts.code === "refused" && facts.status >= 400 && facts.status < 500 && !OF_THE_DAEMON.has(facts.status)
  );
}

function noShard(missing: readonly ShardFailure[], count: number): FleetError {
  const [first] = missing;
  const more = first === undefined ? "" : `; shard ${first.shard} at ${first.url}: ${first.facts.code}`;
  return new FleetError(missing, `none of ${count} shards answered${more}`);
}
