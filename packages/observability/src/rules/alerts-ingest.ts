/**
 * Alerts about following engines and getting their events into the index.
 */

import { INGEST_METRICS } from "../catalogue/ingest.ts";
import { LIMIT_METRICS } from "../catalogue/limits.ts";
import { STREAM_METRICS } from "../catalogue/stream.ts";
import { ENGINES } from "../dashboards/engines.ts";
import { INGEST } from "../dashboards/ingest.ts";
import { OVERVIEW } from "../dashboards/overview.ts";
import { panelOf } from "../dashboards/panel.ts";
import {
  above,
  below,
  equals,
  given,
  max,
  min,
  minus,
  orZero,
  plus,
  quantile,
  ratio,
  sum,
  summed,
} from "../promql/operators.ts";
import { recorded } from "../promql/recording.ts";
import { ageAtScrape, bucketRate, countRate, rate, value } from "../promql/series.ts";
import { alert, type Alert } from "./alert.ts";
import { ask, logLines } from "./commands.ts";
import { HARMLESS_DROP_REASONS } from "./drop-reasons.ts";
import { RECORDINGS } from "./recordings.ts";
import { MESSAGE_FLOOR_PER_SECOND, THRESHOLDS } from "./thresholds.ts";
import { distributed, growing, steady, TARGET } from "./trial.ts";

const I = INGEST_METRICS;
const S = STREAM_METRICS;
const INSTANCE = ["job", "instance"] as const;
const BY_MODEL = ["job", "instance", "model"] as const;

const MODEL = "example/model";
const MODEL_LABELS = { ...TARGET, model: MODEL };
const ENGINE = { pod: "engine-0", model: MODEL } as const;

const lossy = { reason: { not: HARMLESS_DROP_REASONS } } as const;
const untrusted = { trust: ["partial", "stale", "unknown"] } as const;
const rejected = sum(rate(S.streamEventsRejected, "5m"), BY_MODEL);
const offered = plus(
  orZero(rejected, sum(rate(S.streamEvents, "5m"), BY_MODEL)),
  sum(rate(S.streamEvents, "5m"), BY_MODEL),
);

/** Alerts of the way from engine to index. */
export const INGEST_ALERTS: readonly Alert[] = [
  alert({
    name: "KVSyncConfigurationError",
    when: equals(min(value(I.configurationValid), INSTANCE), 0),
    for: "1m",
    severity: "critical",
    component: "configuration",
    summary: "KV event sync was asked for and cannot run.",
    description: ({ label }) =>
      `${label("instance")} runs without KV event sync, because a setting that sync needs is missing or contradicts another. Lookups answer "no cache information".`,
    panel: panelOf(OVERVIEW, "configuration"),
    runbook: {
      meaning:
        "AIBRIX_KV_EVENT_SYNC_ENABLED is on, but a setting that it depends on (remote tokenizer, its type or endpoint) is absent or unusable. The daemon keeps running and tells callers that it knows nothing.",
      impact:
        "Routing falls back to load alone: no request is lost, but the prefill of shared prompts is paid again and again.",
      diagnosis: [
        { text: "See since when.", query: min(value(I.configurationValid), INSTANCE).text },
        {
          text: "The start of the log names the setting, its value and what is expected.",
          command: logLines("sync_off", 5),
        },
      ],
      mitigation: [
        {
          cause: "The tokenizer's endpoint is not set.",
          fix: "Set AIBRIX_REMOTE_TOKENIZER_ENDPOINT and restart.",
        },
        {
          cause: "The tokenizer's type is not `remote`.",
          fix: "Set AIBRIX_PREFIX_CACHE_TOKENIZER_TYPE=remote and AIBRIX_USE_REMOTE_TOKENIZER=true, and restart.",
        },
        { cause: "Sync is not wanted here.", fix: "Set AIBRIX_KV_EVENT_SYNC_ENABLED=false; the alert ends." },
      ],
      escalation:
        "Whoever rolled out the configuration last; roll it back when the cause is not found in ten minutes.",
    },
    trial: {
      series: (level) => [steady(I.configurationValid, {}, level)],
      fires: 0,
      calm: 1,
      labels: { ...TARGET },
    },
  }),
  alert({
    name: "KVSyncConnectionFailure",
    when: above(
      sum(rate(I.connections, "5m", { status: "failed" }), BY_MODEL),
      THRESHOLDS.connectionFailuresPerSecond,
    ),
    for: "2m",
    severity: "warning",
    component: "ingest",
    summary: "Connections to engines keep failing.",
    description: ({ label, value: rateText }) =>
      `${label("instance")} fails to connect to engines of ${label("model")} ${rateText} times per second.`,
    panel: panelOf(ENGINES, "connections"),
    runbook: {
      meaning:
        "Engines that are listed cannot be reached at their event socket, or accept and close at once.",
      impact:
        "The index does not learn what these engines hold; lookups report them with trust unknown or stale.",
      diagnosis: [
        {
          text: "Which engines?",
          query: sum(rate(I.connections, "5m", { status: "failed" }), ["pod", "model"]).text,
        },
        {
          text: "Is the port open from the daemon?",
          command: "kubectl exec POD -- kvsync inspect tcp://ENGINE_IP:5557 --seconds 10",
        },
      ],
      mitigation: [
        {
          cause: "The engine runs without event publishing.",
          fix: "Start it with its KV events configuration (publisher zmq, endpoint tcp://*:5557).",
        },
        {
          cause: "A network policy blocks ports 5557 and 5558.",
          fix: "Allow them from the daemon to the engines.",
        },
        {
          cause:
            "One side speaks CURVE and the other does not, or the engine's key is another one (panel: engines with other ZeroMQ security).",
          fix: "Set curve.server_key_file to the engines' public key, or unset it where they speak plain ZeroMQ (docs/operations/security.md).",
        },
        {
          cause: "The engine is gone but still listed.",
          fix: "Take it out of the configuration file, or DELETE /api/v1/engines/ID when it was registered over HTTP.",
        },
      ],
      escalation: "The team that runs the engines, with the list of pods from the first query.",
    },
    trial: {
      series: (level) => [growing(I.connections, { ...ENGINE, status: "failed" }, level)],
      fires: 0.11,
      calm: 0.09,
      labels: MODEL_LABELS,
    },
  }),
  alert({
    name: "KVSyncNoActiveConnections",
    when: equals(sum(value(I.connectionsActive), BY_MODEL), 0),
    for: "5m",
    severity: "critical",
    component: "ingest",
    summary: "A model has no connected engine at all.",
    description: ({ label }) => `${label("instance")} has lost every engine of ${label("model")}.`,
    panel: panelOf(OVERVIEW, "connections"),
    runbook: {
      meaning:
        "All event connections of one model are down at the same time: a network cut, or all its engines are gone.",
      impact: "What the index holds for the model grows stale; lookups say so, and gateways fall back.",
      diagnosis: [
        { text: "All models, or one?", query: sum(value(I.connectionsActive), ["model"]).text },
        {
          text: "Do the engines run?",
          command: "kubectl get pods -l model.aibrix.ai/kv-events-enabled=true -o wide",
        },
      ],
      mitigation: [
        {
          cause: "The model was scaled to zero.",
          fix: "Nothing to do; remove it from the static list if it stays away.",
        },
        {
          cause: "A network policy or DNS change cut the daemon off.",
          fix: "Restore the path to the engines' event port.",
        },
        {
          cause: "Only this replica is cut off.",
          fix: "Delete its pod; it starts elsewhere and rebuilds from replay.",
        },
      ],
      escalation: "Network on-call when several models are affected, the model's owners otherwise.",
    },
    trial: {
      series: (level) => [steady(I.connectionsActive, { model: MODEL }, level)],
      fires: 0,
      calm: 1,
      labels: MODEL_LABELS,
    },
  }),
  alert({
    name: "KVEventDropRate",
    when: above(sum(rate(I.eventsDropped, "5m", lossy), BY_MODEL), THRESHOLDS.droppedEventsPerSecond),
    for: "2m",
    severity: "warning",
    component: "ingest",
    summary: "Events are dropped for reasons that cost accuracy.",
    description: ({ label, value: rateText }) =>
      `${label("instance")} drops ${rateText} events per second of ${label("model")}; the index under-reports what was in them.`,
    panel: panelOf(OVERVIEW, "dropped"),
    runbook: {
      meaning:
        "Events arrive and are not applied. Reasons that lose nothing (groups that are not indexed, duplicates, messages that a replay covers) are left out of this alert.",
      impact: "The streams concerned lose the trust `exact`; gateways see fewer matches than there are.",
      diagnosis: [
        {
          text: "Which reason, which engine?",
          query: sum(rate(I.eventsDropped, "5m", lossy), ["pod", "reason"]).text,
        },
        {
          text: "Each stream's own account of drops and faults, by reason.",
          command: ask("/api/v1/engines"),
        },
      ],
      mitigation: [
        {
          cause: "Reason index_memory_limit or park_full.",
          fix: "Raise the index's memory budget; see the capacity panels.",
        },
        {
          cause:
            "A wire error such as truncated or wrong_type: the engine speaks a dialect that is not known.",
          fix: "Compare its version with the supported ones; pin the engine until the dialect is added.",
        },
        {
          cause: "Reason unknown_medium or unknown_locality.",
          fix: "The engine is newer than the vocabulary; what it offloads there is not indexed.",
        },
      ],
      escalation: "kvsync's maintainers, with the reason and the engine's version.",
    },
    trial: {
      series: (level) => [
        growing(
          I.eventsDropped,
          { ...ENGINE, event_type: "BlockStored", reason: "index_memory_limit" },
          level,
        ),
        growing(I.eventsDropped, { ...ENGINE, event_type: "BlockRemoved", reason: "unknown_block" }, 1000),
      ],
      fires: 10.1,
      calm: 9.9,
      labels: MODEL_LABELS,
    },
  }),
  alert({
    name: "KVEventProcessingLatency",
    when: above(
      quantile(0.99, summed(bucketRate(I.eventProcessingDuration, "5m"), BY_MODEL)),
      THRESHOLDS.eventProcessingSeconds,
    ),
    for: "5m",
    severity: "warning",
    component: "ingest",
    summary: "Applying an event takes unusually long.",
    description: ({ label, value: time }) =>
      `One event in a hundred of ${label("model")} takes ${label("instance")} more than ${time}.`,
    panel: panelOf(OVERVIEW, "processingLatency"),
    runbook: {
      meaning:
        "Decoding and applying single events has become slow: they are huge, or the ingest thread does not get its core.",
      impact: "The queue fills, events reach the index late, and lookups describe the past.",
      diagnosis: [
        {
          text: "Which type of event?",
          query: quantile(0.99, summed(bucketRate(I.eventProcessingDuration, "5m"), ["event_type"])).text,
        },
        {
          text: "Is the worker starved?",
          query: max(value(S.streamWorkerUtilization), ["instance", "worker"]).text,
        },
      ],
      mitigation: [
        { cause: "The container is throttled.", fix: "Give it one core per ingest worker and one for HTTP." },
        {
          cause: "Engines send batches of many thousands of blocks.",
          fix: "Harmless while the queue is short; otherwise add an ingest worker (AIBRIX_KV_EVENT_WORKERS).",
        },
      ],
      escalation: "kvsync's maintainers, with a CPU profile of the worker.",
    },
    trial: {
      series: (level) =>
        distributed(I.eventProcessingDuration, { model: MODEL, event_type: "BlockStored" }, 0.99, level),
      fires: 0.0101,
      calm: 0.0099,
      labels: MODEL_LABELS,
    },
  }),
  alert({
    name: "KVEventSequenceGaps",
    when: above(
      quantile(0.95, summed(bucketRate(I.sequenceGap, "5m"), BY_MODEL)),
      THRESHOLDS.sequenceGapMessages,
    ),
    for: "2m",
    severity: "warning",
    component: "ingest",
    summary: "Long runs of messages from engines are lost on the way.",
    description: ({ label, value: messages }) =>
      `Gaps in streams of ${label("model")} at ${label("instance")} span up to ${messages} messages.`,
    panel: panelOf(OVERVIEW, "gaps"),
    runbook: {
      meaning:
        "Sequence numbers jump: messages were published and did not arrive. A replay is asked for each gap.",
      impact:
        "While a gap is repaired its stream is stale. A gap longer than the engine's history clears the engine's part of the index.",
      diagnosis: [
        { text: "Which engines have gaps?", query: sum(countRate(I.sequenceGap, "5m"), ["pod"]).text },
        { text: "Are they repaired?", query: sum(rate(I.replayRequests, "5m"), ["status"]).text },
        { text: "Does the daemon read fast enough?", query: recorded(RECORDINGS.queueUtilization).text },
      ],
      mitigation: [
        {
          cause: "The daemon is the bottleneck: the queue is long, back-pressure is on.",
          fix: "More CPU, or more ingest workers.",
        },
        {
          cause: "The engine's send buffer is short (high-water mark).",
          fix: "Raise hwm in the engine's KV events configuration.",
        },
        {
          cause: "The network drops connections.",
          fix: "Follow connection attempts per engine; look at the node.",
        },
      ],
      escalation: "The engines' team when only some engines are affected, network on-call otherwise.",
    },
    trial: {
      series: (level) => distributed(I.sequenceGap, ENGINE, 0.95, level),
      fires: 10.1,
      calm: 9.9,
      labels: MODEL_LABELS,
    },
  }),
  alert({
    name: "StreamUntrusted",
    when: above(sum(value(I.streamTrust, untrusted), ["job", "instance", "model", "pod"]), 0),
    for: "2m",
    severity: "warning",
    component: "ingest",
    summary: "An engine's part of the index cannot be trusted.",
    description: ({ label, value: streams }) =>
      `${streams} streams of ${label("pod")} (${label("model")}) at ${label("instance")} have not been exact for two minutes.`,
    panel: panelOf(ENGINES, "trust"),
    runbook: {
      meaning:
        "A stream is partial (history was shorter than the gap), stale (a gap is open, or the connection is down) or unknown (nothing heard yet). Two minutes is far beyond a normal start or repair.",
      impact: "Lookups that involve this engine say degraded or fallback.",
      diagnosis: [
        { text: "Which trust?", query: sum(value(I.streamTrust, untrusted), ["pod", "trust"]).text },
        {
          text: "The stream's own account: state, gaps, replays, drops by reason.",
          command: ask("/api/v1/engines"),
        },
      ],
      mitigation: [
        {
          cause: "partial: the engine keeps too little history (buffer_steps).",
          fix: "It heals when the engine's old blocks are evicted or cleared. Blocks below a system prompt that was announced before the history begins stay unknown until then: have the idle engine drop its cache (vLLM POST /reset_prefix_cache in its server's dev mode, SGLang POST /flush_cache), or restart it. Raise buffer_steps so that it does not happen again.",
        },
        {
          cause: "stale, and no replay endpoint is configured.",
          fix: "Enable the engine's replay socket (default port 5558) and list it.",
        },
        { cause: "unknown: never connected.", fix: "See KVSyncConnectionFailure." },
      ],
      escalation: "kvsync's maintainers when a stream stays stale with a working replay endpoint.",
    },
    trial: {
      series: (level) => [steady(I.streamTrust, { ...ENGINE, trust: "stale" }, level)],
      fires: 1,
      calm: 0,
      labels: { ...MODEL_LABELS, pod: ENGINE.pod },
    },
  }),
  alert({
    name: "HighQueueDepth",
    when: above(recorded(RECORDINGS.queueUtilization), THRESHOLDS.queueRatioWarning),
    for: "2m",
    severity: "warning",
    component: "ingest",
    summary: "The ingest queue is filling up.",
    description: ({ label, value: share }) =>
      `The ${label("lane")} lane of ${label("instance")} is ${share} full.`,
    panel: panelOf(INGEST, "utilization"),
    runbook: {
      meaning: "Messages arrive faster than they are applied, and have done so for minutes.",
      impact:
        "Events reach the index later and later. At the bound, messages are refused and replays repair them at extra cost.",
      diagnosis: [
        { text: "Load or slowness?", query: recorded(RECORDINGS.eventRate).text },
        { text: "Busy workers?", query: recorded(RECORDINGS.workerUtilization).text },
      ],
      mitigation: [
        {
          cause: "More load than one worker applies.",
          fix: "Add ingest workers, or move models to another replica.",
        },
        { cause: "CPU throttling.", fix: "Raise the CPU limit; see HighCPUUsage." },
        { cause: "A storm after a network cut.", fix: "It drains by itself; watch that the slope is down." },
      ],
      escalation: "kvsync's maintainers if utilisation is below 50 % and the queue still grows.",
    },
    trial: {
      series: (level) => [
        steady(S.streamQueueDepth, { lane: "live" }, level * 1000),
        steady(S.streamQueueCapacity, { lane: "live" }, 1000),
      ],
      fires: 0.81,
      calm: 0.79,
      labels: { ...TARGET, lane: "live" },
    },
  }),
  alert({
    name: "CriticalQueueDepth",
    when: above(recorded(RECORDINGS.queueUtilization), THRESHOLDS.queueRatioCritical),
    for: "1m",
    severity: "critical",
    component: "ingest",
    summary: "The ingest queue is about to refuse messages.",
    description: ({ label, value: share }) =>
      `The ${label("lane")} lane of ${label("instance")} is ${share} full.`,
    panel: panelOf(INGEST, "utilization"),
    runbook: {
      meaning:
        "The queue has nearly reached its bound. The next burst is refused and counted, and replays are asked for.",
      impact: "Streams turn stale in waves; lookups for busy models degrade.",
      diagnosis: [
        {
          text: "Already refusing?",
          query: sum(rate(S.streamEventsRejected, "5m"), ["model", "reason"]).text,
        },
        { text: "Which lane?", query: recorded(RECORDINGS.queueUtilization).text },
      ],
      mitigation: [
        {
          cause: "Sustained load above capacity.",
          fix: "Scale: more ingest workers, then models over more replicas.",
        },
        { cause: "The worker hangs.", fix: "See WorkerDown; restart the replica." },
      ],
      escalation: "Page kvsync's maintainers if scaling does not bend the curve within ten minutes.",
    },
    trial: {
      series: (level) => [
        steady(S.streamQueueDepth, { lane: "live" }, level * 1000),
        steady(S.streamQueueCapacity, { lane: "live" }, 1000),
      ],
      fires: 0.91,
      calm: 0.89,
      labels: { ...TARGET, lane: "live" },
    },
  }),
  alert({
    name: "WorkerDown",
    when: above(
      max(ageAtScrape(LIMIT_METRICS.workerHeartbeat), ["job", "instance", "worker"]),
      THRESHOLDS.workerSilenceSeconds,
    ),
    for: "1m",
    severity: "critical",
    component: "ingest",
    summary: "An ingest worker stopped responding.",
    description: ({ label, value: silence }) =>
      `Worker ${label("worker")} of ${label("instance")} has not run its tick for ${silence}.`,
    panel: panelOf(INGEST, "heartbeat"),
    runbook: {
      meaning:
        "A worker that ends takes the process with it; one that is alive and silent is blocked in one piece of work. After `ingest.stall_seconds` (30 by default) the daemon logs `ingest_stalled` and ends with exit code 3, so this alert fires only where that setting is longer or the end itself is blocked.",
      impact:
        "Nothing reaches the index for the engines of this worker. From two seconds on their trust is `stale` and the replica is not ready (`worker_stalled`).",
      diagnosis: [
        { text: "One worker or all?", query: ageAtScrape(LIMIT_METRICS.workerHeartbeat).text },
        {
          text: "What does it do?",
          command:
            "kubectl exec POD -- sh -c 'kill -USR1 1' && kubectl port-forward POD 9229   # then chrome://inspect",
        },
      ],
      mitigation: [{ cause: "Any.", fix: "Restart the replica: it rebuilds from the engines' replay." }],
      escalation:
        "kvsync's maintainers, with a profile or core of the hanging process taken before the restart.",
    },
    trial: {
      // Time in a promtool test begins at 0: a heartbeat that grows by a second per second lags by a constant.
      series: (level) => [
        {
          series: `${LIMIT_METRICS.workerHeartbeat.name}{job="${TARGET.job}",instance="${TARGET.instance}",worker="0"}`,
          start: -level,
          perSecond: 1,
        },
      ],
      fires: 11,
      calm: 9,
      labels: { ...TARGET, worker: "0" },
      settle: "1m",
    },
  }),
  alert({
    name: "WorkerUtilizationImbalance",
    when: above(
      minus(max(value(S.streamWorkerUtilization), INSTANCE), min(value(S.streamWorkerUtilization), INSTANCE)),
      THRESHOLDS.workerUtilizationSpread,
    ),
    for: "5m",
    severity: "warning",
    component: "ingest",
    summary: "Ingest workers carry very different loads.",
    description: ({ label, value: spread }) =>
      `Between the busiest and the idlest ingest worker of ${label("instance")} lie ${spread} of a core.`,
    panel: panelOf(INGEST, "workers"),
    runbook: {
      meaning: "Engines are spread over workers unevenly, by number or by how much they say.",
      impact: "The busiest worker becomes the bottleneck while others idle.",
      diagnosis: [
        { text: "Per worker.", query: max(value(S.streamWorkerUtilization), ["instance", "worker"]).text },
        { text: "Which engines talk most?", query: sum(rate(I.eventsReceived, "5m"), ["pod"]).text },
      ],
      mitigation: [
        {
          cause: "A few very busy engines share a worker.",
          fix: "The balancer moves one stream at a time, and none that would only turn the difference around; engines that talk this much want a worker each.",
        },
      ],
      escalation: "None needed while the busiest worker is below 80 %.",
    },
    trial: {
      series: (level) => [
        steady(S.streamWorkerUtilization, { worker: "0" }, 0.5 + level),
        steady(S.streamWorkerUtilization, { worker: "1" }, 0.5),
      ],
      fires: 0.41,
      calm: 0.39,
      labels: { ...TARGET },
    },
  }),
  alert({
    name: "ExcessiveWorkStealing",
    when: above(sum(rate(S.streamWorkStolen, "5m"), INSTANCE), THRESHOLDS.stolenStreamsPerSecond),
    for: "10m",
    severity: "info",
    component: "ingest",
    summary: "Streams keep moving between ingest workers.",
    description: ({ label }) =>
      `Ingest workers of ${label("instance")} take streams from each other at nearly a third of the greatest possible rate.`,
    panel: panelOf(INGEST, "stolen"),
    runbook: {
      meaning:
        "The balancer moves streams from the busiest worker to the idlest, and the load it evens out keeps shifting.",
      impact: "Each move costs a replay and a moment in which that engine's part of the index is stale.",
      diagnosis: [
        { text: "Who takes over?", query: sum(rate(S.streamWorkStolen, "5m"), ["instance", "worker"]).text },
        {
          text: "How busy are they?",
          query: max(value(S.streamWorkerUtilization), ["instance", "worker"]).text,
        },
        {
          text: "Which streams?",
          command: logLines("stream_moved", 20),
        },
      ],
      mitigation: [
        {
          cause: "A few engines make most of the load.",
          fix: "Fewer workers (AIBRIX_KV_EVENT_WORKERS) move less.",
        },
        {
          cause: "The machine gives the process fewer cores than it has workers.",
          fix: "Raise the CPU limit, or set fewer workers.",
        },
      ],
      escalation: "None needed while streams are exact most of the time.",
    },
    trial: {
      series: (level) => [growing(S.streamWorkStolen, { worker: "ingest-0" }, level)],
      fires: 0.11,
      calm: 0.09,
      labels: { ...TARGET },
    },
  }),
  alert({
    name: "HighEventLatency",
    when: above(recorded(RECORDINGS.eventLatencyP99), THRESHOLDS.eventLatencySeconds),
    for: "5m",
    severity: "warning",
    component: "ingest",
    summary: "Events wait long between socket and index.",
    description: ({ label, value: time }) =>
      `One message in a hundred of ${label("model")} takes ${label("instance")} more than ${time} to apply.`,
    panel: panelOf(INGEST, "latency"),
    runbook: {
      meaning:
        "The time from reading a message to having applied it has grown; almost always it is waiting in the queue.",
      impact: "Lookups miss blocks that were stored moments ago, and name some that are gone.",
      diagnosis: [
        {
          text: "Waiting or working?",
          query: quantile(0.99, summed(bucketRate(S.streamQueueWait, "5m"), ["lane"])).text,
        },
        { text: "Busy workers?", query: recorded(RECORDINGS.workerUtilization).text },
      ],
      mitigation: [
        { cause: "Queue wait is most of it.", fix: "As for HighQueueDepth: more ingest capacity." },
        { cause: "It comes with replays.", fix: "Find out why there are gaps (KVEventSequenceGaps)." },
      ],
      escalation: "kvsync's maintainers when neither queue nor CPU explains it.",
    },
    trial: {
      series: (level) => distributed(S.streamEventLatency, { model: MODEL }, 0.99, level),
      fires: 0.101,
      calm: 0.099,
      labels: MODEL_LABELS,
    },
  }),
  alert({
    name: "PropagationLag",
    when: above(
      quantile(0.99, summed(bucketRate(S.streamPropagation, "5m"), BY_MODEL)),
      THRESHOLDS.propagationSeconds,
    ),
    for: "5m",
    severity: "warning",
    component: "ingest",
    summary: "Events are applied long after engines sent them.",
    description: ({ label, value: time }) =>
      `One message in a hundred of ${label("model")} is ${time} old when ${label("instance")} has applied it.`,
    panel: panelOf(INGEST, "propagation"),
    runbook: {
      meaning:
        "Measured from the engine's own timestamp: the engine publishes late, the network queues, the daemon is slow, or clocks differ.",
      impact: "A router decides on an old picture of the caches.",
      diagnosis: [
        { text: "Is the daemon's own part of it large?", query: recorded(RECORDINGS.eventLatencyP99).text },
        {
          text: "Do clocks agree?",
          command: "kubectl exec ENGINE_POD -- date +%s.%N; kubectl exec POD -- date +%s.%N",
        },
      ],
      mitigation: [
        { cause: "Clocks differ.", fix: "Repair time synchronisation on the node." },
        {
          cause: "The engine's event loop is overloaded.",
          fix: "Its events leave late; look at the engine's own latency.",
        },
      ],
      escalation: "The engines' team, once the daemon's own latency is ruled out.",
    },
    trial: {
      series: (level) => distributed(S.streamPropagation, { model: MODEL }, 0.99, level),
      fires: 1.001,
      calm: 0.99,
      labels: MODEL_LABELS,
    },
  }),
  alert({
    name: "FrequentBackpressure",
    when: above(
      sum(rate(S.streamBackpressureActivations, "5m", { level: { not: "normal" } }), INSTANCE),
      THRESHOLDS.backpressureActivationsPerSecond,
    ),
    for: "5m",
    severity: "warning",
    component: "ingest",
    summary: "Ingest flaps in and out of back-pressure.",
    description: ({ label, value: rateText }) =>
      `${label("instance")} enters a back-pressure level ${rateText} times per second.`,
    panel: panelOf(INGEST, "pressure"),
    runbook: {
      meaning:
        "The queue crosses a level up and down many times a second: load sits right at the edge of capacity.",
      impact: "None yet; the next increase of load makes the queue stay full.",
      diagnosis: [
        { text: "Which level?", query: sum(rate(S.streamBackpressureActivations, "5m"), ["level"]).text },
        { text: "How full is the queue?", query: recorded(RECORDINGS.queueUtilization).text },
      ],
      mitigation: [{ cause: "Capacity is just enough.", fix: "Add an ingest worker before the load grows." }],
      escalation: "None; plan capacity in working hours.",
    },
    trial: {
      series: (level) => [growing(S.streamBackpressureActivations, { level: "warning" }, level)],
      fires: 101,
      calm: 99,
      labels: { ...TARGET },
    },
  }),
  alert({
    name: "PersistentBackpressure",
    when: above(max(value(S.streamBackpressureState), INSTANCE), 0),
    for: "10m",
    severity: "critical",
    component: "ingest",
    summary: "Ingest has not kept up for ten minutes.",
    description: ({ label, value: level }) =>
      `${label("instance")} has been at back-pressure level ${level} (1 warning, 2 critical, 3 overloaded) for ten minutes.`,
    panel: panelOf(INGEST, "pressureState"),
    runbook: {
      meaning: "The queue never got back to normal: the daemon applies less than the engines say.",
      impact: "Staleness grows with the queue; at the top level messages are refused.",
      diagnosis: [
        { text: "Since when, and is it getting worse?", query: recorded(RECORDINGS.queueUtilization).text },
        { text: "What is the most that it applies?", query: recorded(RECORDINGS.eventRate).text },
      ],
      mitigation: [
        {
          cause: "Not enough ingest capacity.",
          fix: "Add ingest workers or replicas; shard models over replicas at the gateway.",
        },
        {
          cause: "One engine floods.",
          fix: "Find it by events per pod, and unregister it until it is fixed.",
        },
      ],
      escalation: "Page kvsync's maintainers after thirty minutes.",
    },
    trial: {
      series: (level) => [steady(S.streamBackpressureState, {}, level)],
      fires: 1,
      calm: 0,
      labels: { ...TARGET },
      settle: "1m",
    },
  }),
  alert({
    name: "HighRejectionRate",
    when: above(ratio(rejected, offered, MESSAGE_FLOOR_PER_SECOND), THRESHOLDS.rejectedRatio),
    for: "5m",
    severity: "warning",
    component: "ingest",
    summary: "The queue refuses a visible share of messages.",
    description: ({ label, value: share }) =>
      `${label("instance")} refuses ${share} of the messages of ${label("model")}.`,
    panel: panelOf(INGEST, "rejected"),
    runbook: {
      meaning:
        "Messages are read and thrown away at the queue's bound, each one counted with a reason and repaired by a replay.",
      impact: "Replays multiply the load; streams are stale while they run.",
      diagnosis: [
        { text: "Which reason?", query: sum(rate(S.streamEventsRejected, "5m"), ["model", "reason"]).text },
        { text: "Does replay keep up?", query: sum(rate(I.replayRequests, "5m"), ["status"]).text },
      ],
      mitigation: [
        { cause: "queue_messages or queue_bytes: the queue is full.", fix: "As for CriticalQueueDepth." },
        {
          cause: "message_too_large: a message exceeds the limit.",
          fix: "Lower the engine's batch size, or raise the limit of message bytes.",
        },
      ],
      escalation: "kvsync's maintainers when the queue is short and messages are still refused.",
    },
    trial: {
      series: (level) => [
        growing(S.streamEventsRejected, { model: MODEL, reason: "queue_messages" }, level * 1000),
        growing(S.streamEvents, { model: MODEL, lane: "live" }, (1 - level) * 1000),
      ],
      fires: 0.011,
      calm: 0.009,
      labels: MODEL_LABELS,
    },
  }),
  alert({
    name: "BatchApplyFailures",
    when: above(sum(rate(S.streamBatchFailures, "5m"), ["job", "instance", "error_type"]), 0),
    for: "2m",
    severity: "critical",
    component: "ingest",
    summary: "Whole messages cannot be applied.",
    description: ({ label, value: rateText }) =>
      `${label("instance")} fails to apply ${rateText} messages per second (${label("error_type")}).`,
    panel: panelOf(INGEST, "failures"),
    runbook: {
      meaning:
        "A message could not be read as a batch of events at all: another protocol, another version, or corruption.",
      impact:
        "Each such message may have held removals, so its stream is stale until a replay repairs it; with an unknown dialect it never is.",
      diagnosis: [
        {
          text: "Whose messages? Their drops are of event type unknown.",
          query: sum(rate(I.eventsDropped, "5m", { event_type: "unknown" }), ["pod", "reason"]).text,
        },
        { text: "The faults of each stream, by code.", command: ask("/api/v1/engines") },
      ],
      mitigation: [
        {
          cause: "An engine version with another message format.",
          fix: "Roll the engine back, or the daemon forward to a version that knows it.",
        },
        {
          cause: "Something else publishes on that port.",
          fix: "Correct the endpoint in the engine's registration.",
        },
      ],
      escalation: "kvsync's maintainers, with the fault's code and the engine's version.",
    },
    trial: {
      series: (level) => [growing(S.streamBatchFailures, { worker: "0", error_type: "undecodable" }, level)],
      fires: 0.1,
      calm: 0,
      labels: { ...TARGET, error_type: "undecodable" },
    },
  }),
  alert({
    name: "LowThroughput",
    when: given(
      below(sum(rate(I.eventsProcessed, "5m"), BY_MODEL), THRESHOLDS.eventsPerSecondMin),
      above(sum(value(I.connectionsActive), BY_MODEL), 0),
      BY_MODEL,
    ),
    for: "10m",
    severity: "info",
    component: "ingest",
    summary: "Connected engines say little.",
    description: ({ label, value: rateText }) =>
      `Engines of ${label("model")} are connected to ${label("instance")}, but only ${rateText} events arrive per second.`,
    panel: panelOf(OVERVIEW, "processed"),
    runbook: {
      meaning:
        "Fewer events than a loaded fleet produces: low traffic, full reuse, or engines that publish nothing.",
      impact: "None if traffic is low. If it is not, the index is empty and nobody was told.",
      diagnosis: [
        { text: "Is there traffic?", query: recorded(RECORDINGS.requestRate).text },
        { text: "Are the streams verified as idle?", query: sum(value(I.streamTrust), ["trust"]).text },
      ],
      mitigation: [
        { cause: "Low traffic.", fix: "Nothing to do." },
        {
          cause: "Engines run without prefix caching or without events.",
          fix: "Enable both in the engine's arguments.",
        },
      ],
      escalation: "None.",
    },
    trial: {
      series: (level) => [
        growing(I.eventsProcessed, { ...ENGINE, event_type: "BlockStored" }, level),
        steady(I.connectionsActive, { model: MODEL }, 4),
      ],
      fires: 99,
      calm: 101,
      labels: MODEL_LABELS,
    },
  }),
];
