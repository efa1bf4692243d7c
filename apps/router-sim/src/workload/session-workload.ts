/**
 * Makes a workload of sessions while it is read: memory grows with the sessions in progress, not with the requests.
 *
 *     session starts (gamma gaps) ─┐
 *                                  ├─▶ the earlier one ─▶ request; its session comes back after a gap, or ends
 *     next turns (heap by time) ───┘
 *
 *  S1  Equal settings and seeds give equal requests.
 *  S2  A session's text only grows: a turn's prompt is the whole text so far, its answer is
 *      appended. A block that was filled in part keeps its id when it fills up (W2 of workload.ts).
 *      So turns share their common text to the token.
 *  S3  The service has been running for long when the workload begins. Some sessions began before
 *      time 0, and only their later turns are in it, as in a trace cut out of a day. The rate is
 *      therefore the same at the begin and at the end.
 *
 * Shared beginnings are whole blocks long.
 */
import { Prng } from "@kvsync/core";
import TinyQueue from "tinyqueue";

import { TRACE_BLOCK_TOKENS } from "../trace/request.ts";
import { type Draw, gammaGaps, geometric, logNormal, uniform, Zipf } from "./distribution.ts";
import type { SessionKind } from "./session-kind.ts";
import type { WorkloadRequest } from "./workload.ts";

/** Longest prompt with its answer: the context of the models that the cost model has presets for. */
const CONTEXT_TOKENS_MAX = 131_072;

/** A session is let begin so many mean lengths of sessions before time 0 (S3): e⁻⁸ of them are longer. */
const WARM_UP_LENGTHS = 8;

/** Names sequences of random numbers; one each, so that more of one kind of draw does not shift the others. */
const STREAMS = { arrivals: 1, beginnings: 2, sessions: 3 } as const;

/** What is asked for. */
export interface SessionSettings {
  readonly kind: SessionKind;
  readonly requests: number;
  /** Requests per second. */
  readonly rate: number;
  /** Of the gaps between two session starts: 1 for a Poisson process, more for bursts. */
  readonly arrivalCv: number;
}

/** A session between two turns. */
interface Session {
  readonly id: number;
  /** Ids of its text. */
  readonly ids: number[];
  textTokens: number;
  turnsLeft: number;
  nextMs: number;
}

/** The draws of one reading. */
interface Draws {
  readonly startGapMs: Draw;
  readonly turns: Draw;
  readonly firstTokens: Draw;
  readonly nextTokens: Draw;
  readonly answerTokens: Draw;
  readonly gapSeconds: Draw;
  readonly unit: Draw;
}

/**
 * Makes the requests.
 *
 * @param settings - see SessionSettings.
 * @param seed - a u32.
 * @returns `settings.requests` requests in order of arrival, of blocks of TRACE_BLOCK_TOKENS; each is the reader's to keep.
 */
export function* sessionRequests(
  settings: SessionSettings,
  seed: number,
): Generator<WorkloadRequest, void, undefined> {
  const source = new SessionSource(settings, seed);
  for (let made = 0; made < settings.requests; ) {
    const request = source.next();
    if (request === null) continue;
    made += 1;
    yield request;
  }
}

class SessionSource {
  readonly #kind: SessionKind;
  readonly #draws: Draws;
  readonly #popularity: Zipf;
  /** Ids of each shared beginning. */
  readonly #beginnings: readonly (readonly number[])[];
  readonly #underWay = new TinyQueue<Session>([], (a, b) => a.nextMs - b.nextMs || a.id - b.id);
  #nextStartMs: number;
  #nextId: number;
  #nextSession = 0;

  constructor({ kind, rate, arrivalCv }: SessionSettings, seed: number) {
    this.#kind = kind;
    const random = new Prng(streamSeed(seed, STREAMS.sessions));
    const arrivals = new Prng(streamSeed(seed, STREAMS.arrivals));
    this.#draws = {
      startGapMs: gammaGaps({ mean: (1_000 * kind.turns) / rate, cv: arrivalCv }, arrivals),
      turns: geometric(kind.turns, random),
      firstTokens: logNormal(kind.firstTokens, random),
      nextTokens: logNormal(kind.nextTokens, random),
      answerTokens: logNormal(kind.answerTokens, random),
      gapSeconds: logNormal(kind.gapSeconds, random),
      unit: uniform(random),
    };
    const { count, exponent, tokens } = kind.sharedBeginnings;
    this.#popularity = new Zipf(count, exponent);
    const lengths = logNormal(tokens, new Prng(streamSeed(seed, STREAMS.beginnings)));
    this.#nextId = 0;
    this.#beginnings = Array.from({ length: count }, () => {
      const tokensMax = CONTEXT_TOKENS_MAX / 2;
      const blocks = Math.max(1, Math.round(Math.min(lengths(), tokensMax) / TRACE_BLOCK_TOKENS));
      return Array.from({ length: blocks }, () => this.#nextId++);
    });
    this.#nextStartMs = -1_000 * WARM_UP_LENGTHS * (kind.turns - 1) * kind.gapSeconds.mean;
  }

  /** @returns the next turn of all; null when it lies before time 0. */
  next(): WorkloadRequest | null {
    const soonest = this.#underWay.peek();
    if (soonest !== undefined && soonest.nextMs <= this.#nextStartMs) {
      this.#underWay.pop();
      return this.#turn(soonest, this.#draws.nextTokens());
    }
    const session = this.#open(this.#nextStartMs);
    this.#nextStartMs += this.#draws.startGapMs();
    return this.#turn(session, this.#draws.firstTokens());
  }

  #open(nextMs: number): Session {
    const { sessionShare } = this.#kind.sharedBeginnings;
    const begins = this.#draws.unit() < sessionShare;
    const shared = this.#beginnings[this.#popularity.rankAt(this.#draws.unit())] ?? [];
    const ids = begins ? [...shared] : [];
    return {
      id: this.#nextSession++,
      ids,
      textTokens: ids.length * TRACE_BLOCK_TOKENS,
      turnsLeft: this.#draws.turns(),
      nextMs,
    };
  }

  /** Appends a prompt's new tokens and the answer to the session's text, and lets the session come back or end. */
  #turn(session: Session, newTokens: number): WorkloadRequest | null {
    const arrivalMs = session.nextMs;
    const outputTokens = wholeTokens(this.#draws.answerTokens());
    const inputTokens = session.textTokens + wholeTokens(newTokens);
    const gapMs = 1_000 * this.#draws.gapSeconds();
    if (inputTokens + outputTokens > CONTEXT_TOKENS_MAX) return null;
    session.textTokens = inputTokens + outputTokens;
    const { ids } = session;
    while (ids.length * TRACE_BLOCK_TOKENS < session.textTokens) ids.push(this.#nextId++);
    session.turnsLeft -= 1;
    session.nextMs += gapMs;
    if (session.turnsLeft > 0) this.#underWay.push(session);
    if (arrivalMs < 0) return null;
    const promptIds = Math.ceil(inputTokens / TRACE_BLOCK_TOKENS);
    return {
      arrivalMs: Math.floor(arrivalMs),
      inputTokens,
      outputTokens,
      hashIds: ids.slice(0, promptIds),
      answerIds: ids.slice(promptIds),
      sessionId: session.id,
    };
  }
}

function wholeTokens(tokens: number): number {
  return Math.max(1, Math.round(tokens));
}

/** Prng takes 53 bits: the seed in the low 32, the stream above. */
function streamSeed(seed: number, stream: number): number {
  return stream * 2 ** 32 + seed;
}
