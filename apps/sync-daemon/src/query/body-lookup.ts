/**
 * Answers a lookup from the bytes of its JSON body, in a thread other than the main one, or leaves it to the main thread.
 *
 *     bytes ─▶ text ─▶ shape, JSON ─▶ fields ─▶ tokens into the reader's memory ─▶ match ─▶ JSON of the answer
 *                 └───────────┴──────────┴──── anything but an answer ─────────────┴──────▶ null: the main thread's
 *
 *  H1  An answer is the one that `Lookup.json` gives for this body (lookup-threads.test.ts "H1").
 *  H2  Errors, prompts and conversations are left to the main thread. So each error has one text, one status and one
 *      place that counts it (lookup-threads.test.ts "H2").
 *
 * Not here: the main thread's side (lookup-threads/lookup-threads.ts), and what is counted of an answer (lookup.ts).
 */

import { RequestError } from "../request/request-error.ts";
import { checkJsonShape } from "../request/json-shape.ts";
import { match, type MatchDependencies } from "./match.ts";
import type { MatchAnswer } from "./match-answer.ts";
import { type MatchQuery, type QueryInputMemory, readJsonQuery } from "./match-query.ts";

/** An answer that another thread made. Structured-cloneable. */
export interface AnsweredBody {
  /** JSON of the answer. */
  readonly text: string;
  readonly query: Pick<MatchQuery, "input" | "count">;
  /** The answer with its best match alone: what is counted, logged and traced of it. */
  readonly answer: MatchAnswer;
  /** Time for hashing and matching. */
  readonly matchMs: number;
}

/** Names that the main thread's parser refuses in objects, and the sign of an escape that may hide one. */
const REFUSED_NAMES = ["__proto__", "constructor", "\\"];

/** See the header. One per reader, whose memory it writes. */
export class BodyLookup {
  readonly #dependencies: MatchDependencies;
  readonly #memory: QueryInputMemory;
  readonly #hasSecretHashes: boolean;

  /**
   * @param dependencies - reader, board, engines and clock. The engines are those of this shard alone.
   * @param options - longest prompt that is looked up; setting `index.prefix_hashes`.
   */
  constructor(
    dependencies: MatchDependencies,
    options: { readonly tokensMax: number; readonly prefixHashes: "public" | "secret" },
  ) {
    const { reader } = dependencies;
    this.#dependencies = dependencies;
    this.#memory = { tokens: reader.tokens, hashes: reader.hashes, tokensMax: options.tokensMax };
    this.#hasSecretHashes = options.prefixHashes === "secret";
  }

  /**
   * Answers a body.
   *
   * @param body - its bytes, unchecked.
   * @returns null for a body that the main thread answers.
   */
  answer(body: Uint8Array): AnsweredBody | null {
    try {
      return this.#answer(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString("utf8"));
    } catch (error) {
      // The main thread finds the same error, and answers and counts it.
      if (error instanceof RequestError || error instanceof SyntaxError) return null;
      throw error;
    }
  }

  #answer(text: string): AnsweredBody | null {
    if (REFUSED_NAMES.some((name) => text.includes(name))) return null;
    checkJsonShape(text);
    const read = readJsonQuery(JSON.parse(text), this.#memory);
    if (read.kind === "prompt") return null;
    const { query } = read;
    if (query.input === "prefix_hashes" && this.#hasSecretHashes) return null;
    const { registry, shard } = this.#dependencies;
    // By other names a model may be one of other shards, whose names the main thread knows.
    if (shard?.isPart === true && registry.enginesOf(query.model) === null) return null;
    const beganMs = performance.now();
    const answer = match(query, this.#dependencies);
    const matchMs = performance.now() - beganMs;
    return {
      text: JSON.stringify(answer),
      query: { input: query.input, count: query.count },
      answer: { ...answer, matches: answer.matches.slice(0, 1) },
      matchMs,
    };
  }
}
