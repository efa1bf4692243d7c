/** Row of the dashboard "KV sync service and system": System. */

import { LIMIT_METRICS } from "../../catalogue/limits.ts";
import { SERVICE_METRICS } from "../../catalogue/service.ts";
import { PROCESS_METRICS, PROMETHEUS_METRICS } from "../../../exporters.ts";
import { max, ratio, sum } from "../../../promql/operators.ts";
import { recorded } from "../../../promql/recording.ts";
import { sumRate, value } from "../../../promql/series.ts";
import { RECORDINGS } from "../../rules/recordings.ts";
import { THRESHOLDS } from "../../rules/thresholds.ts";
import { query, row, table, timeseries } from "../../../dashboards/panel.ts";
import { HERE, INSTANCE, RATE } from "../scope.ts";

/** The row with its panels. */
export const SYSTEM = row({
  id: 103,
  title: "System",
  folded: true,
  panels: {
    builds: table({
      id: 5,
      title: "Builds",
      shows:
        "System information: the build that runs where, its start, its CPUs and memory, and a hash that is the same for the same settings.",
      normal: "One build, two during a rollout; one hash.",
      width: 24,
      height: 6,
      columns: [
        {
          title: "Runs",
          query: query(
            max(value(SERVICE_METRICS.buildInfo, HERE), ["instance", "version", "node_version"]),
            "build",
          ),
        },
        { title: "Started", query: query(max(value(PROCESS_METRICS.startTime, HERE), INSTANCE), "start") },
        { title: "CPUs", query: query(max(value(LIMIT_METRICS.cpuLimit, HERE), INSTANCE), "CPUs") },
        {
          title: "Memory limit",
          query: query(max(value(LIMIT_METRICS.memoryLimit, HERE), INSTANCE), "memory"),
        },
        {
          title: "Settings",
          query: query(max(value(SERVICE_METRICS.configurationInfo, HERE), ["instance", "hash"]), "settings"),
        },
      ],
    }),
    cpu: timeseries({
      id: 14,
      title: "CPU",
      shows: "Cores in use: 100 % is one core. The main thread answers, ingest workers follow the engines.",
      normal: "Well below the number of threads that work: one, and one per ingest worker.",
      width: 6,
      height: 8,
      queries: [query(max(recorded(RECORDINGS.cpu, HERE), INSTANCE), (label) => label("instance"))],
    }),
    memory: timeseries({
      id: 15,
      title: "Memory",
      shows: "Resident memory with the index, and the limit.",
      normal: "Level once the fleet's caches are full.",
      width: 6,
      height: 8,
      queries: [
        query(sum(value(PROCESS_METRICS.residentMemory, HERE), INSTANCE), (label) => label("instance")),
        query(sum(value(LIMIT_METRICS.memoryLimit, HERE), INSTANCE), (label) => `${label("instance")} limit`),
      ],
    }),
    memoryShare: timeseries({
      id: 16,
      title: "Memory share",
      shows: "Resident memory per memory that the process may use.",
      normal: "Below 80 %.",
      width: 6,
      height: 8,
      queries: [query(max(recorded(RECORDINGS.memory, HERE), INSTANCE), (label) => label("instance"))],
      levels: { warning: THRESHOLDS.memoryRatio, bad: "above" },
    }),
    heap: timeseries({
      id: 17,
      title: "JavaScript heap",
      shows: "Heap in use by the main thread; the index is not in it.",
      normal: "A saw-tooth around a level that does not rise.",
      width: 6,
      height: 8,
      queries: [query(sum(value(PROCESS_METRICS.heapUsed, HERE), INSTANCE), (label) => label("instance"))],
    }),
    eventLoop: timeseries({
      id: 18,
      title: "Event-loop lag",
      shows:
        "Delay of the main thread's event loop, and the limit of its p99. Every request waits this much longer.",
      normal: "p99 below 20 ms.",
      width: 6,
      height: 8,
      queries: [
        query(
          max(value(PROCESS_METRICS.eventLoopLagP99, HERE), INSTANCE),
          (label) => `${label("instance")} p99`,
        ),
        query(
          max(value(PROCESS_METRICS.eventLoopLagMax, HERE), INSTANCE),
          (label) => `${label("instance")} largest`,
        ),
        query(
          max(value(LIMIT_METRICS.eventLoopLagLimit, HERE), INSTANCE),
          (label) => `${label("instance")} limit`,
        ),
      ],
    }),
    gc: timeseries({
      id: 19,
      title: "Garbage collection",
      shows: "Share of time that the main thread pauses for garbage collection, by kind.",
      normal: "Below 2 %, almost all minor.",
      width: 6,
      height: 8,
      stacked: true,
      queries: [
        query(sum(sumRate(PROCESS_METRICS.gcDuration, RATE, HERE), ["kind"]), (label) => label("kind")),
      ],
    }),
    descriptors: timeseries({
      id: 20,
      title: "File descriptors",
      shows: "Open file descriptors per allowed ones; each engine stream takes a few.",
      normal: "Below 50 %.",
      width: 6,
      height: 8,
      queries: [
        query(
          ratio(
            sum(value(PROCESS_METRICS.openFileDescriptors, HERE), INSTANCE),
            sum(value(PROCESS_METRICS.maxFileDescriptors, HERE), INSTANCE),
          ),
          (label) => label("instance"),
        ),
      ],
      levels: { warning: THRESHOLDS.fileDescriptorRatio, bad: "above" },
    }),
    scrape: timeseries({
      id: 21,
      title: "Scrape duration",
      shows:
        "How long Prometheus takes to read this daemon's metrics; the event loop is busy for part of it.",
      normal: "Below 100 ms.",
      width: 6,
      height: 8,
      queries: [
        query(max(value(PROMETHEUS_METRICS.scrapeDuration, HERE), INSTANCE), (label) => label("instance")),
      ],
    }),
  },
});
