/**
 * The figures that alerts fire at and panels color by: each stated once, each with its reason.
 * Ratios are 0 to 1.
 */

import { type ObjectiveSettings, WORKBOOK_BURNS } from "../../rules/objectives.ts";

/** Every threshold, by what it bounds. */
export const THRESHOLDS = {
  /** One failed attempt in ten seconds is more than a rolling restart of one engine makes. */
  connectionFailuresPerSecond: 0.1,
  /** Replay repairs single losses; ten a second for minutes is a cause that stays. */
  droppedEventsPerSecond: 10,
  /** A thousand times the usual cost of an event. */
  eventProcessingSeconds: 0.01,
  /** Small gaps come from restarts; more than ten messages at once from a full socket buffer. */
  sequenceGapMessages: 10,
  /** Leaves time to raise the limit before contexts are forgotten. */
  contextsRatio: 0.9,
  /** A limit that evicts all the time is too small. */
  evictionsPerSecond: 1,
  /** Below this, cache-aware routing does little better than any other. */
  hitRate: 0.3,
  queueRatioWarning: 0.8,
  queueRatioCritical: 0.9,
  /** The tick runs several times a second; ten seconds without one is no scheduling delay. */
  workerSilenceSeconds: 10,
  workerUtilizationSpread: 0.4,
  workerUtilizationHigh: 0.9,
  /** The balancer moves one stream in three seconds at most; 30 % of that for minutes evens nothing out. */
  stolenStreamsPerSecond: 0.1,
  eventLatencySeconds: 0.1,
  lookupLatencySeconds: 0.05,
  routingLatencySeconds: 0.005,
  backpressureActivationsPerSecond: 100,
  rejectedRatio: 0.01,
  /** Each request stores at least one block: engines that serve requests and publish less than one event in 100 s publish nothing. */
  eventsPerSecondMin: 0.01,
  memoryRatio: 0.8,
  cpuRatio: 0.8,
  requestErrorRatio: 0.05,
  requestSeconds: 1,
  /** Single failures happen at restarts of the tokenizer; one in ten for minutes is an outage. */
  tokenizerFailureRatio: 0.1,
  /** A start answers with fallbacks for seconds; one lookup in ten for minutes is a model that is not followed, or a tokenizer that is down. */
  fallbackRatio: 0.1,
  /** Engines and daemon share a data centre; a second is queueing or a clock that is off. */
  propagationSeconds: 1,
  diskFreeRatio: 0.1,
  /** Of a claim's volume. One that has room for three snapshots has a third free between two of them. */
  volumeFreeRatio: 0.1,
  /** Ten of the default interval: older than this, an engine's history may no longer reach back to it. */
  snapshotAgeSeconds: 600,
  /** A caller with an old token tries again and again; a single mistake by hand does not count. */
  refusedCallersPerSecond: 0.5,
  /** Two weeks: time for somebody to come back from holiday, less than the renewal of ninety-day certificates leaves. */
  certificateSecondsLeft: 1_209_600,
  /** A watch is opened anew every few minutes; twice that without one is an API server that is away. */
  discoveryAgeSeconds: 600,
  restartsPerQuarterHour: 0.1,
  notificationFailureRatio: 0.1,
  /** A tokenizer that is late for one request in a hundred is at its limit. */
  lateDecisionRatio: 0.01,
  /** Evictions within two seconds are rare; one prompt in five that is not stored has another cause. */
  promptDifferenceRatio: 0.2,
  /** Prompts that are computed at the same moment are predicted too early: a quarter of them is more. */
  predictionDifferenceRatio: 0.25,
  /** Retries of a gateway after a restart stay below one in twenty. */
  servedElsewhereRatio: 0.05,
  /** With exact ranks nearly all requests are decided by the index. */
  blindRatio: 0.5,
  /** Fifty looks at the default interval, five times the age from which on they are not used. */
  scrapeAgeSeconds: 10,
  /** A replica that restarts costs a second of picks; one in twenty over five minutes is an outage. */
  shardMissingRatio: 0.05,
  /** Descriptors: past this, new engines cannot be connected soon. */
  fileDescriptorRatio: 0.8,
} as const;

/** Requests per second at or below which a share of them says nothing. */
export const REQUEST_FLOOR_PER_SECOND = 0.05;

/** Prompt checks, or compared predictions, per second at or below which a share of them says nothing: six in ten minutes. */
export const CHECK_FLOOR_PER_SECOND = 0.01;

/** Messages per second at or below which a share of them says nothing. */
export const MESSAGE_FLOOR_PER_SECOND = 1;

/**
 * What the service promises over 30 days, as the share of match requests that may fail or be slow: 99.9 % succeed, 99 % are quick. The latency bound
 * is a bucket bound of the request histogram.
 */
export const OBJECTIVES = {
  periodDays: 30,
  budgets: { availability: 0.001, latency: 0.01 },
  slowSeconds: { latency: 0.0512 },
  burns: WORKBOOK_BURNS,
} as const satisfies ObjectiveSettings<"availability" | "latency">;

/** The scrape job of Alertmanager. */
export const ALERTMANAGER_JOB = "alertmanager";

/** The scrape job of node-exporter, as its own dashboards and rules name it. */
export const NODE_JOB = "node-exporter";

/** The scrape job of the daemon. */
export const DAEMON_JOB = "kvsync-daemon";
