/**
 * The dashboard of the way from the socket to the index: does ingest keep up, and if not, where does it wait?
 */

import { LIMIT_METRICS } from "../catalogue/limits.ts";
import { STREAM_METRICS } from "../catalogue/stream.ts";
import { max, min, quantile, sum, summed } from "../promql/operators.ts";
import { recorded } from "../promql/recording.ts";
import { ageAtScrape, bucketRate, rate, value } from "../promql/series.ts";
import { RECORDINGS } from "../rules/recordings.ts";
import { THRESHOLDS } from "../rules/thresholds.ts";
import {
  bucketsQuery,
  dashboard,
  heatmap,
  quantileQueries,
  query,
  stat,
  stateTimeline,
  timeseries,
} from "./panel.ts";
import { HERE, MODELS, RATE } from "./scope.ts";

const M = STREAM_METRICS;

/** Ingest stream. */
export const INGEST = dashboard({
  uid: "kvsync-ingest",
  title: "KV ingest stream",
  description: "From the socket to the index: rates, queue, workers, latency, back-pressure, errors.",
  variables: ["job", "instance", "model"],
  refresh: "5s",
  rows: [
    {
      id: 100,
      title: "Key figures",
      panels: ["rateNow", "depthNow", "utilizationNow", "sessions", "heartbeat"],
    },
    { id: 101, title: "Throughput", panels: ["rateByModel", "lanes", "batches", "stolen", "batchSize"] },
    { id: 102, title: "Queue", panels: ["depth", "utilization", "memory", "queueWait"] },
    {
      id: 103,
      title: "Back-pressure and errors",
      panels: ["pressureState", "pressure", "rejected", "failures"],
    },
    {
      id: 104,
      title: "Workers and latency",
      panels: ["workers", "busy", "latency", "propagation", "lookup"],
    },
  ],
  panels: {
    rateNow: stat({
      id: 1,
      title: "Messages per second",
      shows: "Messages taken from the queue and applied, over the last minute.",
      normal: "Follows the load of the engines.",
      width: 5,
      height: 4,
      queries: [query(sum(recorded(RECORDINGS.eventRate, MODELS), []), "messages/s")],
    }),
    depthNow: stat({
      id: 2,
      title: "Queue depth",
      shows: "Messages waiting in the ingest queue now.",
      normal: "0 or close to it.",
      width: 5,
      height: 4,
      queries: [query(sum(value(M.streamQueueDepth, HERE), []), "messages")],
    }),
    utilizationNow: stat({
      id: 3,
      title: "Queue in use",
      shows: "The fullest lane's share of its bound.",
      normal: "Below 10 %; at 100 % messages are refused.",
      width: 5,
      height: 4,
      queries: [query(max(recorded(RECORDINGS.queueUtilization, HERE), []), "in use")],
      levels: {
        warning: THRESHOLDS.queueRatioWarning,
        critical: THRESHOLDS.queueRatioCritical,
        bad: "above",
      },
    }),
    sessions: stat({
      id: 4,
      title: "Sessions",
      shows: "Streams that the daemon follows, by kind, at the replica with the fewest.",
      normal: "The number of DP ranks in the fleet.",
      width: 4,
      height: 4,
      queries: [
        query(min(sum(value(M.streamActiveSessions, HERE), ["instance", "kind"]), ["kind"]), (label) =>
          label("kind"),
        ),
      ],
    }),
    heartbeat: stat({
      id: 5,
      title: "Oldest heartbeat",
      shows: "How long the quietest ingest worker had not run its tick when it was scraped.",
      normal: "Below a second.",
      width: 5,
      height: 4,
      queries: [query(max(ageAtScrape(LIMIT_METRICS.workerHeartbeat, HERE), []), "since tick")],
      levels: { warning: THRESHOLDS.workerSilenceSeconds, bad: "above" },
    }),
    rateByModel: timeseries({
      id: 6,
      title: "Rate by model",
      shows: "Messages applied per second, by model.",
      normal: "Follows the load; no model falls to 0 while its engines work.",
      width: 12,
      height: 8,
      queries: [query(sum(recorded(RECORDINGS.eventRate, MODELS), ["model"]), (label) => label("model"))],
    }),
    lanes: timeseries({
      id: 7,
      title: "Rate by lane",
      shows: "Messages taken per second, by where they came from.",
      normal: "Almost all live; replay only after starts and gaps.",
      width: 12,
      height: 8,
      queries: [query(sum(rate(M.streamEvents, RATE, MODELS), ["lane"]), (label) => label("lane"))],
      stacked: true,
    }),
    batches: timeseries({
      id: 8,
      title: "Messages by worker",
      shows: "Messages applied per second by each ingest worker.",
      normal: "Workers lie close together.",
      width: 12,
      height: 8,
      queries: [
        query(
          sum(rate(M.streamBatchesProcessed, RATE, HERE), ["instance", "worker"]),
          (label) => `${label("instance")} ${label("worker")}`,
        ),
      ],
    }),
    stolen: timeseries({
      id: 60,
      title: "Streams moved by worker",
      shows: "Streams per second that each ingest worker took over from a busier one.",
      normal: "0, a few after engines came or went.",
      width: 12,
      height: 8,
      queries: [
        query(
          sum(rate(M.streamWorkStolen, RATE, HERE), ["instance", "worker"]),
          (label) => `${label("instance")} ${label("worker")}`,
        ),
      ],
    }),
    batchSize: heatmap({
      id: 9,
      title: "Events per message",
      shows: "How engines batch: messages per second by the number of events they carry.",
      normal: "A few to tens; all at 1 costs more per event.",
      width: 12,
      height: 8,
      rows: "buckets",
      queries: [bucketsQuery(summed(bucketRate(M.streamBatchSize, RATE, HERE), []))],
    }),
    depth: timeseries({
      id: 10,
      title: "Queue depth by lane",
      shows: "Messages waiting, by lane, beside the lane's bound.",
      normal: "Near 0 with short peaks; never a slope.",
      width: 6,
      height: 8,
      queries: [
        query(sum(value(M.streamQueueDepth, HERE), ["lane"]), (label) => label("lane")),
        query(sum(value(M.streamQueueCapacity, HERE), ["lane"]), (label) => `${label("lane")} bound`),
      ],
    }),
    utilization: timeseries({
      id: 11,
      title: "Queue utilisation",
      shows: "Share of each lane's bound in use, by replica.",
      normal: "Below 10 %.",
      width: 6,
      height: 8,
      queries: [
        query(
          max(recorded(RECORDINGS.queueUtilization, HERE), ["instance", "lane"]),
          (label) => `${label("instance")} ${label("lane")}`,
        ),
      ],
      levels: {
        warning: THRESHOLDS.queueRatioWarning,
        critical: THRESHOLDS.queueRatioCritical,
        bad: "above",
      },
    }),
    memory: timeseries({
      id: 12,
      title: "Queue memory",
      shows: "Payload bytes waiting in the ingest queue, by replica.",
      normal: "A few megabytes at most.",
      width: 6,
      height: 8,
      queries: [query(sum(value(M.streamQueueMemory, HERE), ["instance"]), (label) => label("instance"))],
    }),
    queueWait: timeseries({
      id: 13,
      title: "Queue wait p99",
      shows: "Time that 99 % of messages wait less than, by lane.",
      normal: "Below a millisecond on the live lane.",
      width: 6,
      height: 8,
      queries: [
        query(quantile(0.99, summed(bucketRate(M.streamQueueWait, RATE, HERE), ["lane"])), (label) =>
          label("lane"),
        ),
      ],
      levels: { warning: THRESHOLDS.eventLatencySeconds, bad: "above" },
    }),
    pressureState: stateTimeline({
      id: 14,
      title: "Back-pressure state",
      shows: "The level that the queue is in, by replica.",
      normal: "Normal; warning for moments during a storm.",
      width: 12,
      height: 6,
      queries: [
        query(max(value(M.streamBackpressureState, HERE), ["instance"]), (label) => label("instance")),
      ],
      states: [
        { value: 0, text: "normal", color: "green" },
        { value: 1, text: "warning", color: "yellow" },
        { value: 2, text: "critical", color: "orange" },
        { value: 3, text: "overloaded", color: "red" },
      ],
    }),
    pressure: timeseries({
      id: 15,
      title: "Back-pressure events",
      shows: "Transitions of the queue into a level, per second.",
      normal: "0.",
      width: 12,
      height: 6,
      queries: [
        query(sum(rate(M.streamBackpressureActivations, RATE, HERE), ["level"]), (label) => label("level")),
      ],
      levels: { warning: THRESHOLDS.backpressureActivationsPerSecond, bad: "above" },
    }),
    rejected: timeseries({
      id: 16,
      title: "Rejected messages",
      shows: "Messages refused at the queue per second, by reason. Replay repairs them, at a cost.",
      normal: "0.",
      width: 12,
      height: 8,
      queries: [
        query(sum(rate(M.streamEventsRejected, RATE, MODELS), ["reason"]), (label) => label("reason")),
      ],
    }),
    failures: timeseries({
      id: 17,
      title: "Failed messages",
      shows: "Messages per second that could not be applied as a whole, by kind of error.",
      normal: "0.",
      width: 12,
      height: 8,
      queries: [
        query(sum(rate(M.streamBatchFailures, RATE, HERE), ["error_type"]), (label) => label("error_type")),
      ],
    }),
    workers: heatmap({
      id: 18,
      title: "Worker utilisation",
      shows: "Busy share of each ingest worker over time: one line of cells per worker.",
      normal: "Even colour, below 50 %.",
      width: 12,
      height: 8,
      rows: "series",
      queries: [
        query(
          max(value(M.streamWorkerUtilization, HERE), ["instance", "worker"]),
          (label) => `${label("instance")} ${label("worker")}`,
        ),
      ],
    }),
    busy: timeseries({
      id: 19,
      title: "Mean worker utilisation",
      shows: "Mean busy share of the ingest workers, by replica.",
      normal: "Below 50 %; near 100 % the next engine makes the queue grow.",
      width: 12,
      height: 8,
      queries: [
        query(max(recorded(RECORDINGS.workerUtilization, HERE), ["instance"]), (label) => label("instance")),
      ],
      levels: { warning: THRESHOLDS.workerUtilizationHigh, bad: "above" },
    }),
    latency: timeseries({
      id: 20,
      title: "Event latency",
      shows: "From reading a message off its socket to having applied it.",
      normal: "p50 below a millisecond, p99 below ten.",
      width: 8,
      height: 8,
      logarithmic: true,
      queries: quantileQueries(
        summed(bucketRate(M.streamEventLatency, RATE, MODELS), []),
        [0.5, 0.99, 0.999],
      ),
      levels: { warning: THRESHOLDS.eventLatencySeconds, bad: "above" },
    }),
    propagation: timeseries({
      id: 21,
      title: "Propagation",
      shows: "From the engine's own timestamp to having applied the message. Clocks must agree.",
      normal: "A few milliseconds more than the event latency.",
      width: 8,
      height: 8,
      logarithmic: true,
      queries: quantileQueries(summed(bucketRate(M.streamPropagation, RATE, MODELS), []), [0.5, 0.99]),
      levels: { warning: THRESHOLDS.propagationSeconds, bad: "above" },
    }),
    lookup: timeseries({
      id: 22,
      title: "Lookup latency p99 by model",
      shows: "Time that 99 % of lookups stay below: hashing, matching and assembling the answer.",
      normal: "Below a millisecond, also while ingest is busy.",
      width: 8,
      height: 8,
      logarithmic: true,
      queries: [
        query(max(recorded(RECORDINGS.lookupLatencyP99, MODELS), ["model"]), (label) => label("model")),
      ],
      levels: { warning: THRESHOLDS.lookupLatencySeconds, bad: "above" },
    }),
  },
});
