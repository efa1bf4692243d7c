/**
 * Looks up the tokens of a prompt that each rank holds, for the picker: the daemon's own lookup, in the form that a pick needs.
 *
 *     model's name ─▶ model, adapter, workers (model-name.ts) ─▶ tokens into the reader's memory ─▶ match ─▶ holds
 *
 * A model that no engine serves is no error here: the caller picks by load.
 */
import { DIGEST_WORDS } from "@kvsync/core";

import type { Engine } from "../engine/engine-entry.ts";
import { RequestError } from "../request/request-error.ts";
import { heldByRank, type MatchDependencies, type RankHeld } from "../query/match.ts";
import type { QuestionFields } from "../query/match-query.ts";
import { withInput, withTokens } from "../query/match-query.ts";
import { namedModel } from "../query/model-name.ts";
import type { PromptNames } from "./endpoint-fleet.ts";

/** Tokens of a chunk that has one name: as many as the policy tells prompts apart by. */
const NAME_TOKENS = 256;

/** A model that is served. */
export interface ServedModel {
  readonly question: QuestionFields;
  /** The name to ask a tokenizer by: the adapter's where there is one. */
  readonly tokenizerModel: string;
  /** The engines that take its requests, those of other shards too. */
  readonly workers: Pick<ReadonlySet<string>, "has">;
}

/** What differs where a list of engines lags behind, and where other shards have engines. */
export interface LookupParts {
  /**
   * Whether what was found at a rank's slot is the rank's. Asked after the lookup, where the list of
   * engines may be older than the index (directory-copy.ts).
   */
  readonly isCurrent?: (worker: string, dpRank: number) => boolean;
  /** The entry of an engine that another shard follows; null for any other id. */
  readonly elsewhere?: (id: string) => Engine | null;
}

/** See the header. One per reader, whose memory it writes. */
export class PromptLookup {
  readonly #dependencies: MatchDependencies;
  readonly #tokensMax: number;
  readonly #isCurrent: (worker: string, dpRank: number) => boolean;
  readonly #elsewhere: (id: string) => Engine | null;

  /**
   * @param dependencies - reader, board, engines and clock, as lookups over HTTP have them.
   * @param tokensMax - longest prompt that is looked up.
   * @param parts - see LookupParts.
   */
  constructor(dependencies: MatchDependencies, tokensMax: number, parts: LookupParts = {}) {
    this.#dependencies = dependencies;
    this.#tokensMax = tokensMax;
    this.#isCurrent = parts.isCurrent ?? (() => true);
    this.#elsewhere = parts.elsewhere ?? (() => null);
  }

  /**
   * Finds the model of a request.
   *
   * @returns null when no engine serves it, or several models have the name.
   */
  model(name: string, cacheSalt: string | null): ServedModel | null {
    try {
      const { model, loraName, engines } = namedModel({ model: name, loraName: null }, this.#dependencies);
      const question: QuestionFields = {
        model,
        loraName,
        blockSize: null,
        cacheSalt,
        media: [],
        workers: null,
        topK: null,
        includeUnmatched: true,
      };
      const here = new Set([...engines].map(({ engine }) => engine.id));
      // An alias selects the engines that have it (M1 of model-name.ts).
      const alias = name === model || name === loraName ? null : name;
      const isElsewhere = (id: string): boolean => {
        const engine = this.#elsewhere(id);
        return engine?.model === model && (alias === null || engine.aliases.includes(alias));
      };
      const workers = { has: (id: string): boolean => here.has(id) || isElsewhere(id) };
      return { question, tokenizerModel: loraName ?? model, workers };
    } catch (error) {
      if (error instanceof RequestError) return null;
      throw error;
    }
  }

  /** The first tokens of the prompt that was looked up last: a view, valid until the next lookup. */
  lookedUp(count: number): Uint32Array {
    return this.#dependencies.reader.tokens.subarray(0, count);
  }

  /** Names of the prompt that was looked up last, whose length is `count`: valid until the next lookup. */
  namesOf(count: number): PromptNames {
    const keys = this.#dependencies.reader.digestChunks(count, NAME_TOKENS);
    return { keys, keyWords: DIGEST_WORDS, keyTokens: NAME_TOKENS };
  }

  /**
   * Looks a prompt up.
   *
   * @param served - from `model`.
   * @param tokens - checked as u32, or a request's own list, unchecked.
   * @returns one entry per rank of the model that is still followed; null when these are no tokens, or too many.
   */
  holds({ question }: ServedModel, tokens: Uint32Array | readonly unknown[]): readonly RankHeld[] | null {
    const { reader } = this.#dependencies;
    const memory = { tokens: reader.tokens, hashes: reader.hashes, tokensMax: this.#tokensMax };
    try {
      const query =
        tokens instanceof Uint32Array
          ? withTokens(question, tokens, memory)
          : withInput(question, "token_ids", tokens, memory);
      return heldByRank(query, this.#dependencies).filter(({ worker, dpRank }) =>
        this.#isCurrent(worker, dpRank),
      );
    } catch (error) {
      if (error instanceof RequestError) return null;
      throw error;
    }
  }
}
