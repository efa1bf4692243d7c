/**
 * The decisions of a stream's owner: the worker rank, whether the engine answers replay requests,
 * and the patience of the state machine. Times are in milliseconds of the clock that the owner
 * passes in; nothing here reads a clock.
 *
 * Every limit has its reason next to its default. A smaller one never makes a wrong answer, only an
 * earlier "partial".
 */
import type { StreamPosition } from "./stream-position.ts";

/** Limits and times of one stream; see {@link DEFAULT_SYNC_LIMITS} for each one's reason. */
export interface SyncLimits {
  /** Most live messages held while a replay is under way; more are dropped and asked for again. */
  readonly heldMessagesMax: number;
  /** Most bytes of payload held likewise. */
  readonly heldBytesMax: number;
  /** Attempts that must agree that a message is gone before a rank that holds something is cleared for it. */
  readonly absentAttemptsMax: number;
  /** Failed attempts in a row, none of which brought anything, before a pause. */
  readonly failedAttemptsMax: number;
  /** First pause; doubles with each further one. */
  readonly pauseMs: number;
  /** Longest pause. */
  readonly pauseMsMax: number;
  /** Pauses in a row before the stream goes on without its history. */
  readonly pausesMax: number;
  /** An attempt that its owner has not sent for so long is asked for anew. */
  readonly replayWaitMs: number;
  /** An attempt that was sent and brought nothing new for so long is given up, whatever its transport says. */
  readonly replaySilenceMs: number;
  /** Longest time that one attempt may take once it was sent; what is left is asked for anew. */
  readonly replayMsMax: number;
  /** Time until the probe that follows a connection, when messages may have slipped past a young subscription. */
  readonly firstProbeMs: number;
  /** Silence after which an idle stream is probed; doubles with each probe that finds nothing. */
  readonly probeMs: number;
  /** Longest time between probes of an idle stream. */
  readonly probeMsMax: number;
  /** Least time between probes because messages were lost on our side. */
  readonly lossProbeMs: number;
  /** Failed probes in a row after which an idle stream no longer counts as verified. */
  readonly failedProbesMax: number;
  /** How far a batch's time may lie before its predecessor's without suspicion, in seconds. */
  readonly clockToleranceSeconds: number;
  /** Least age of the message that a reconnected publisher must show to prove itself. */
  readonly anchorAgeMs: number;
  /** How long messages may arrive on a stream not reported as connected before it is taken as connected. */
  readonly connectGraceMs: number;
  /** Time until the first attempt to rebuild a rank that lost something for good; doubles with each attempt. */
  readonly rebuildMs: number;
  /** Longest time between such attempts. */
  readonly rebuildMsMax: number;
}

/** The limits in force where none are given. */
export const DEFAULT_SYNC_LIMITS: SyncLimits = {
  // 10 s of a busy engine (100 messages a second) at 4 kB each; a longer replay is asked again for what did not fit.
  heldMessagesMax: 1024,
  heldBytesMax: 4 * 1024 * 1024,
  // A ROUTER cannot drop the first messages of an answer, whose pipe is empty, so one agreeing answer would do; two more
  // keep a lossy proxy or a crashing transport from costing a rank its index.
  absentAttemptsMax: 3,
  // As llm-d: three without progress (pkg/kvevents/zmq_subscriber.go @ ebab6879).
  failedAttemptsMax: 3,
  pauseMs: 1000,
  pauseMsMax: 30_000,
  // 1 + 2 + 4 + 8 s of pauses and fifteen attempts, about two minutes with a transport that waits 5 s (llm-d: 2 min).
  pausesMax: 4,
  // Longer than any queue for a slot: 1,000 cold starts take minutes.
  replayWaitMs: 1_800_000,
  // Far beyond the transport's own timeout (5 s), and longer than answers may wait in the owner's queue.
  replaySilenceMs: 120_000,
  // A history of 100,000 messages takes seconds.
  replayMsMax: 600_000,
  firstProbeMs: 1000,
  probeMs: 5000,
  probeMsMax: 60_000,
  // An overloaded queue drops again and again; four probes a second keep up with it and add little to the load.
  lossProbeMs: 250,
  failedProbesMax: 3,
  // NTP slews a clock that is off by less than 0.128 s and steps it back beyond, which is rare and costs one verification;
  // no engine restarts as fast, so that what its last life said and comes late is told by its time.
  clockToleranceSeconds: 0.1,
  // A socket monitor's news may come after the first messages of the new connection, but not by seconds.
  anchorAgeMs: 5000,
  connectGraceMs: 2000,
  // Once the engine's history (minutes) has refilled most of the rank, so that the rebuilt index is not a cold one.
  rebuildMs: 300_000,
  rebuildMsMax: 3_600_000,
};

/**
 * What the operator knows of an engine's reports. A client of vLLM may ask for one with any request
 * (`kv_cache_report_mode`): the engine then announces again what it reused.
 *  - `auto`: nothing is known. What cannot be told from a further copy is uncertain, and may make the rank `partial`.
 *  - `delta`: no client asks for reports. Every announcement is a copy.
 *  - `full`: clients ask for reports, and none for a request that skips the cache (prompt log probabilities, pooling). A
 *    repetition of several blocks from the root is a report.
 */
export const REPORT_MODES = ["auto", "delta", "full"] as const;

/** One of {@link REPORT_MODES}. */
export type ReportMode = (typeof REPORT_MODES)[number];

/** What is known of a stream before its first message. */
export interface SyncSettings {
  /** Dense number of this (worker, DP rank) in the index; nobody else's. */
  readonly rankSlot: number;
  /** The model that the engine serves; part of every context. */
  readonly model: string;
  /** DP rank of the socket; what messages claim is only compared with it. */
  readonly dpRank: number;
  /** Whether the engine has a replay endpoint. */
  readonly hasReplay: boolean;
  /** `auto` unless given. */
  readonly reportMode?: ReportMode | undefined;
  /**
   * Whether the engine computes the last matched block again (EAGLE without lookahead hashes); not on the wire. Left out when
   * nothing is known: then a rank with several KV-cache groups is not exact before its stores show it.
   */
  readonly dropsLastBlock?: boolean | undefined;
  /** Replaces single limits. */
  readonly limits?: Partial<SyncLimits> | undefined;
  /** When following began, on the owner's clock: since when the first trust holds. */
  readonly startedAtMs?: number | undefined;
  /** Where a stream stood whose blocks the index holds: it goes on from there, once its publisher has proved itself. */
  readonly resumeFrom?: StreamPosition | undefined;
}
