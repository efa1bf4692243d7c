/**
 * The generated workloads as data: the shapes of their sessions. All means are of what is asked
 * for, before the limit on a
 * context's length, which cuts off less than a hundredth of the turns.
 *
 *     one session    │ shared beginning │ first │ answer │ next │ answer │ next │ answer │
 *     turn 1         └───────── prompt ─────────┘
 *     turn 2         └────────────────── prompt ────────────────┘
 *
 * The figures are round ones of plausible services, not measurements, except for `agents` and `documents`, whose shapes follow
 * "tool & agent" and "long context" in R. Qin and others, "Mooncake", USENIX FAST'25, section 4;
 * for measured lengths there is
 * `conversation` (trace/generator.ts) and traces.
 */
import type { Spread } from "./distribution.ts";

/** What sessions of a kind look like. Lengths are tokens. */
export interface SessionKind {
  /** One sentence for people. */
  readonly about: string;
  /** Beginnings that sessions share. */
  readonly sharedBeginnings: {
    /** How many there are. */
    readonly count: number;
    /** Of their popularity (Zipf). */
    readonly exponent: number;
    readonly tokens: Spread;
    /** Of sessions that begin with one, 0 … 1. */
    readonly sessionShare: number;
  };
  /** Mean number of turns; geometric. */
  readonly turns: number;
  /** What the first turn says beyond the shared beginning. */
  readonly firstTokens: Spread;
  /** What a later turn says beyond all that came before. */
  readonly nextTokens: Spread;
  readonly answerTokens: Spread;
  /** Seconds between the arrivals of two turns of a session. */
  readonly gapSeconds: Spread;
  /** Requests per second, unless told: what keeps eight engines of an 8B model on one H100 each busy, not overrun. */
  readonly rate: number;
}

const NOTHING_SHARED = { count: 1, exponent: 0, tokens: { mean: 1, cv: 0 }, sessionShare: 0 };
const SINGLE_TURN = { turns: 1, nextTokens: { mean: 1, cv: 0 }, gapSeconds: { mean: 1, cv: 0 } };

/** Every generated kind of sessions by name. */
export const SESSION_KINDS = {
  chat: {
    about: "multi-turn chat: one system prompt for all, five turns that repeat the earlier ones",
    sharedBeginnings: { count: 1, exponent: 0, tokens: { mean: 1_024, cv: 0 }, sessionShare: 1 },
    turns: 5,
    firstTokens: { mean: 300, cv: 1.2 },
    nextTokens: { mean: 120, cv: 1.2 },
    answerTokens: { mean: 300, cv: 0.8 },
    gapSeconds: { mean: 60, cv: 1 },
    rate: 48,
  },
  "shared-prompts": {
    about: "applications with long system prompts of their own, one short question each time",
    sharedBeginnings: { count: 200, exponent: 1, tokens: { mean: 4_096, cv: 0.5 }, sessionShare: 1 },
    ...SINGLE_TURN,
    firstTokens: { mean: 300, cv: 1 },
    answerTokens: { mean: 200, cv: 0.8 },
    rate: 64,
  },
  agents: {
    about: "agents with tool calls: a dozen quick steps whose tool results pile up in the prompt",
    sharedBeginnings: { count: 8, exponent: 1, tokens: { mean: 6_144, cv: 0.3 }, sessionShare: 1 },
    turns: 12,
    firstTokens: { mean: 500, cv: 1 },
    nextTokens: { mean: 900, cv: 1.5 },
    answerTokens: { mean: 120, cv: 1 },
    gapSeconds: { mean: 8, cv: 1 },
    rate: 10,
  },
  documents: {
    about: "long documents, some of them popular, and two or three questions about each",
    sharedBeginnings: { count: 3_000, exponent: 0.8, tokens: { mean: 24_000, cv: 0.5 }, sessionShare: 1 },
    turns: 2.5,
    firstTokens: { mean: 80, cv: 1 },
    nextTokens: { mean: 80, cv: 1 },
    answerTokens: { mean: 250, cv: 0.8 },
    gapSeconds: { mean: 45, cv: 1 },
    rate: 5,
  },
  "no-reuse": {
    about: "adversarial: no two prompts have anything in common, so knowledge of caches is worth nothing",
    sharedBeginnings: NOTHING_SHARED,
    ...SINGLE_TURN,
    firstTokens: { mean: 3_000, cv: 1 },
    answerTokens: { mean: 250, cv: 0.8 },
    rate: 36,
  },
  "hot-prefix": {
    about:
      "adversarial: four in five prompts begin with the same 8,192 tokens, so going where the prefix is means a crowd",
    sharedBeginnings: { count: 1, exponent: 0, tokens: { mean: 8_192, cv: 0 }, sessionShare: 0.8 },
    ...SINGLE_TURN,
    firstTokens: { mean: 1_000, cv: 1 },
    answerTokens: { mean: 250, cv: 0.8 },
    rate: 48,
  },
} as const satisfies Readonly<Record<string, SessionKind>>;

/** A generated kind's name. */
export type SessionKindName = keyof typeof SESSION_KINDS;

/** Every kind's name. */
export const SESSION_KIND_NAMES = Object.keys(SESSION_KINDS) as readonly SessionKindName[];
