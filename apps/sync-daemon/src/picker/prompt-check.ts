/**
 * Checks whether engines store the prompts that the picker looks up. A few of them are looked up again, at the engine that
 * served them, when it must have stored them.
 *
 *     picked ─ one in `sample` ─▶ kept ─┬─ first token ─────────────── 2 s ──────────────▶ looked up ─▶ agree, differ, unknown
 *                                       ├─ over, without a first token ─ 2 s, 10 s after the pick at least ─▶ looked up
 *                                       └─ over in another way, served by a stranger ─▶ forgotten
 *
 * An engine that does not hold what it was sent has other tokens for it. It may have another tokenizer or template, or a
 * salt or an adapter that the picker does not know.
 *
 *  H1  One in `sample` of the picks with at least eight full blocks is checked, once (prompt-check.test.ts "H1").
 *  H2  Only an engine that is exact can differ (prompt-check.test.ts "H2").
 *  H3  Checks that wait, and their tokens, are bounded; one that finds no room is counted (prompt-check.test.ts "H3").
 *  H4  A check looks at the engine that served, not at the one that was picked (prompt-check.test.ts "H4").
 *
 * Not here: the lookup (prompt-lookup.ts), counters (picker-metrics.ts).
 */
import type { RankHeld } from "../query/match.ts";
import type { ServedModel } from "./prompt-lookup.ts";
import type { SessionEnd } from "./session.ts";

/** Full blocks below which a prompt is too short to tell. */
const BLOCKS_MIN = 8;
/** Tokens of a block where none is stored yet. */
const BLOCK_TOKENS = 16;
/** From the first token to the lookup: a prompt is stored as it is computed, and its events take a moment. */
const STORED_MS = 2000;
/** From the pick to the lookup where the first token is not seen. */
const UNSEEN_MS = 10_000;
/** Checks that wait at once. */
export const CHECKS_MAX = 64;
/** Tokens that they keep together: 16 MiB. */
export const CHECK_TOKENS_MAX = 4 * 1024 * 1024;

/** How a check ended; `skipped` when there was no room for it. */
export type CheckOutcome = "agree" | "differ" | "unknown" | "skipped";

/** Who served: an engine, or one rank of it. */
export interface Server {
  readonly worker: string;
  /** Null: any of its ranks. */
  readonly dpRank: number | null;
}

/** A prompt that was picked for. */
export interface PickedPrompt {
  readonly served: ServedModel;
  /** Its tokens; copied when they are kept. */
  readonly tokens: Uint32Array;
  /** Of the engine that was picked; null when it is not known. */
  readonly blockSize: number | null;
  readonly server: Server;
}

/** What checks work with. */
export interface PromptCheckParts {
  /** See PromptLookup.holds. */
  readonly holds: (served: ServedModel, tokens: Uint32Array) => readonly RankHeld[] | null;
  /** Hears of a check, with the model as engines serve it. */
  readonly checked: (model: string, outcome: CheckOutcome) => void;
  /** Milliseconds, on a clock that never goes back. */
  readonly now: () => number;
}

interface Check {
  readonly prompt: PickedPrompt;
  readonly pickedMs: number;
  server: Server;
  timer: NodeJS.Timeout | null;
}

/** See the header. */
export class PromptCheck {
  readonly #sample: number;
  readonly #parts: PromptCheckParts;
  /** By request. */
  readonly #checks = new Map<number, Check>();
  #tokens = 0;
  #untilNext: number;

  /** @param sample - one pick in so many; 0 for none. */
  constructor(sample: number, parts: PromptCheckParts) {
    this.#sample = sample;
    this.#untilNext = sample;
    this.#parts = parts;
  }

  /** Checks that wait. */
  get count(): number {
    return this.#checks.size;
  }

  /**
   * A request was picked for.
   *
   * @param id - the request's; its news come under it.
   */
  picked(id: number, prompt: PickedPrompt): void {
    if (this.#sample === 0 || prompt.tokens.length < BLOCKS_MIN * (prompt.blockSize ?? BLOCK_TOKENS)) return;
    this.#untilNext -= 1;
    if (this.#untilNext > 0) return;
    this.#untilNext = this.#sample;
    if (this.#checks.size >= CHECKS_MAX || this.#tokens + prompt.tokens.length > CHECK_TOKENS_MAX) {
      this.#parts.checked(prompt.served.question.model, "skipped");
      return;
    }
    const kept = { ...prompt, tokens: prompt.tokens.slice() };
    this.#tokens += kept.tokens.length;
    this.#checks.set(id, { prompt: kept, pickedMs: this.#parts.now(), server: prompt.server, timer: null });
  }

  /** A request was served; null by an endpoint of nobody's. */
  served(id: number, server: Server | null): void {
    const check = this.#checks.get(id);
    if (check === undefined) return;
    if (server === null) this.#forget(id, check);
    else check.server = server;
  }

  /** The first token of a request's answer has come. */
  firstToken(id: number): void {
    const check = this.#checks.get(id);
    if (check !== undefined) this.#lookIn(STORED_MS, id, check);
  }

  /** A request is over, or is not followed any more. */
  over(id: number, end: SessionEnd): void {
    const check = this.#checks.get(id);
    if (check === undefined || check.timer !== null) return;
    if (end !== "complete" && end !== "left") {
      this.#forget(id, check);
      return;
    }
    const sincePickMs = this.#parts.now() - check.pickedMs;
    this.#lookIn(Math.max(STORED_MS, UNSEEN_MS - sincePickMs), id, check);
  }

  /** Ends all checks. */
  stop(): void {
    for (const [id, check] of this.#checks) this.#forget(id, check);
  }

  #lookIn(ms: number, id: number, check: Check): void {
    if (check.timer !== null) return;
    check.timer = setTimeout(() => {
      this.#forget(id, check);
      this.#parts.checked(check.prompt.served.question.model, this.#look(check));
    }, ms);
    // A check that waits does not keep the process.
    check.timer.unref();
  }

  #forget(id: number, { prompt, timer }: Check): void {
    if (timer !== null) clearTimeout(timer);
    this.#checks.delete(id);
    this.#tokens -= prompt.tokens.length;
  }

  #look({ prompt: { served, tokens }, server: { worker, dpRank } }: Check): CheckOutcome {
    const behind = (this.#parts.holds(served, tokens) ?? []).filter(
      (hold) => hold.worker === worker && (dpRank === null || hold.dpRank === dpRank),
    );
    if (behind.some((hold) => hold.trust === "exact" && hasHalf(hold, tokens.length))) return "agree";
    const isKnown = behind.length > 0 && behind.every(({ trust }) => trust === "exact");
    return isKnown ? "differ" : "unknown";
  }
}

/** Whether a rank holds half of a prompt's full blocks or more. */
function hasHalf({ heldTokens, blockSize }: RankHeld, tokens: number): boolean {
  const size = blockSize ?? BLOCK_TOKENS;
  return 2 * heldTokens >= Math.floor(tokens / size) * size;
}
