/**
 * Entry of a thread of the picker: a port for gateways, the picker, and obedience to the main thread
 * (picker-messages.ts). An uncaught error ends the thread, and with it the process: its books are unknown then.
 *
 *     engines ─▶ DirectoryCopy ─▶ PromptLookup ─┐
 *     index, board: shared memory ──────────────┤
 *     ShardLookups: the other shards, over HTTP ┤
 *     tokenizer of its own ─────────────────────┴─▶ Picker ◀─ PickerServer ◀─ gateways
 *                                                     ▲
 *     PickerSharing: decisions of the other threads ──┘     the first thread alone: scrape, probes, bus, common gauges
 *
 * With `picker.threads` above 1 all threads listen at one port, and the kernel gives each connection to one of them.
 * Each has books of its own, which the others' messages keep equal.
 *
 * Not here: the main thread's side (picker-host.ts).
 */

import { parentPort, workerData } from "node:worker_threads";

import { assert, attachReader } from "@kvsync/core";
import { CATALOGUE } from "@kvsync/observability/kvsync/catalogue";
import { TELEMETRY_METRICS } from "@kvsync/observability/kvsync/telemetry";
import { MetricSlots } from "@kvsync/observability/slots";

import { BoardReader } from "../board/stream-board.ts";
import { epochMs, sharedClockMs } from "../clock.ts";
import { DirectoryCopy } from "../engine/directory-copy.ts";
import { LineGate } from "../log/line-gate.ts";
import { LogLevel } from "../log/log-level.ts";
import { droppedCounters } from "../telemetry/dropped-lines.ts";
import { ThreadSpans } from "../telemetry/thread-spans.ts";
import { Tokenizers } from "../tokenizer/tokenizers.ts";
import { ApiRequests } from "./api-requests.ts";
import { drain } from "./drain.ts";
import type { EngineLoad } from "./endpoint-fleet.ts";
import { LoadScrape } from "./load-scrape.ts";
import { MetricsPages } from "./metrics-page.ts";
import { PickTraces } from "./pick-traces.ts";
import { Picker } from "./picker.ts";
import type { FromPicker, PickerQuestion, PickerThreadSettings, ToPicker } from "./picker-messages.ts";
import { PickerMetrics } from "./picker-metrics.ts";
import { PickerServer } from "./picker-server.ts";
import { PickerSharing } from "./picker-sharing.ts";
import { PromptLookup } from "./prompt-lookup.ts";
import { ShardLookups } from "./shard-lookups.ts";
import { BEAT_MS, ThreadBoard } from "./thread-board.ts";
import { ThreadChannel } from "./thread-channel.ts";

/** Time between two standings of the gauges. */
const SHOW_MS = 1000;
/** A pick over HTTP that its router never ends counts so long: longer than answers take. */
const PICK_MS_MAX = 600_000;
/** Addresses in one line of the log. */
const REFUSED_TOLD_MAX = 8;

assert(parentPort !== null, "picker-thread runs as a worker thread");
const port = parentPort;
const settings = workerData as PickerThreadSettings;
const { picker: options } = settings;
/** The one that does what is done once for all threads. */
const isFirst = settings.thread === 0;
/** As it is named in the log's lines and metrics. */
const threadName = isFirst ? "picker" : `picker-${settings.thread}`;
const tell = (message: FromPicker): void => {
  port.postMessage(message);
};
process.on("uncaughtException", (error: unknown) => {
  const known: NodeJS.ErrnoException = error instanceof Error ? error : new Error(String(error));
  const { name, message, stack = "", code } = known;
  tell({ kind: "failed", error: { name, message, stack, ...(code !== undefined && { code }) } });
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
});

const metrics = new MetricSlots(CATALOGUE, threadName, (announcement) => {
  tell({ kind: "metrics", announcement });
});
const log = new LineGate({
  thread: "picker",
  level: LogLevel.attach(settings.logLevel),
  write: (line) => {
    tell({ kind: "log", line });
  },
  dropped: droppedCounters(metrics, "picker"),
  now: epochMs,
});

const directory = new DirectoryCopy(settings.incarnations);
const reader = attachReader(settings.index, { tokensMax: settings.tokenization.limits.query_tokens });
const board = new BoardReader(settings.board);
const lookup = new PromptLookup(
  { reader, board, registry: directory, now: epochMs },
  settings.tokenization.limits.query_tokens,
  {
    isCurrent: (id, dpRank) => directory.isCurrent(id, dpRank),
    elsewhere: (id) => directory.engineElsewhere(id),
  },
);
/** Without one, no question to a tokenizer is made of a body, which costs as much as reading it. */
const { sync, tokenizer: tokenizerSettings } = settings.tokenization;
const hasTokenizer = sync.tokenizer_endpoint !== null || tokenizerSettings.models.length > 0;
/** Vocabularies take seconds to read. Requests until then are decided without tokens, as those of a slow tokenizer are. */
const tokenizers = Tokenizers.open(settings.tokenization, {
  metrics,
  // Each thread's tokenizer has a circuit; the first one's is shown.
  thread: isFirst ? "picker" : null,
  watch: { log, tracing: null },
  now: epochMs,
  threadScript: new URL("../tokenizer/tokenizer-thread.js", import.meta.url),
});
const spans =
  settings.tracedRatio === null
    ? null
    : new ThreadSpans(settings.tracedRatio, {
        send: (span) => {
          tell({ kind: "span", span });
        },
        dropped: metrics.counter(TELEMETRY_METRICS.spans, { outcome: "thread_budget" }),
        now: epochMs,
        random: Math.random,
      });
const epochOffsetMs = (): number => epochMs() - sharedClockMs();
const { shard } = settings;
const others =
  shard === null ? [] : options.shards.addresses.flatMap((_, i) => (i === shard.index ? [] : [i]));
const traces = new PickTraces({ log, spans, epochOffsetMs });
const shown = new PickerMetrics(metrics, traces, others);
const threads = new ThreadBoard(settings.threads, settings.thread);
const sharing = sharingOf(options.share);

function sharingOf(share: typeof options.share): PickerSharing | null {
  const { thread, daemon } = settings;
  const channel = threads.count === 1 ? null : new ThreadChannel(`picker of ${daemon}`);
  const bus = isFirst && share.url !== null ? { url: share.url, share } : null;
  if (channel === null && bus === null) return null;
  return new PickerSharing(
    { daemon, thread, channel, bus },
    {
      log,
      dropped: (reason) => {
        shown.shareDropped(reason);
      },
      now: sharedClockMs,
    },
  );
}

/** The other shards; null when this daemon follows the whole fleet. */
const shards: ShardLookups | null = shard === null ? null : shardsOf(shard.index);
const renewing =
  shards === null
    ? null
    : setInterval(() => {
        shards.renew();
      }, settings.reloadMs);

function shardsOf(own: number): ShardLookups {
  return new ShardLookups(options.shards, own, {
    watch: {
      asked: (one, outcome, seconds) => {
        shown.shardAsked(one, outcome, seconds);
      },
      missing: (one, reason, url) => {
        log.write("picker_shard_missing", { shard: one, reason, url });
      },
      back: (one) => {
        log.write("picker_shard_back", { shard: one });
      },
      unreadable: (setting, message) => {
        log.write("picker_shards_file_refused", { setting, error: message });
      },
    },
    shardOf: (worker) => picker.shardOf(worker),
    now: sharedClockMs,
  });
}

let hasEndpoints = false;
let wasReady = false;
/** Since the last standing, over all threads. */
let lagMsMax = 0;
const picker: Picker = new Picker(
  {
    decisionMs: options.decision_timeout_ms,
    fallbacks: options.fallbacks,
    rankHeader: options.rank_header === true,
    capacityTokens: options.capacity_tokens,
    followsResponses: true,
    checkSample: options.check_sample,
    sessionHeader: options.session_header,
    shedObjectives: options.shed_objectives,
    ...(shard !== null && { shard }),
  },
  {
    lookup,
    shards,
    tokenizer: hasTokenizer ? { tokenize: async (request) => (await tokenizers).tokenize(request) } : null,
    watch: shown,
    traces,
    isReady: () => threads.isServing(sharedClockMs()),
    now: sharedClockMs,
    ...(sharing !== null && { sharing: sharing.parts }),
  },
);
if (picker.shared !== null) sharing?.start(picker.shared, picker);
const openMax = Math.ceil(options.limits.streams / threads.count);
const api = new ApiRequests(
  picker,
  { prefix: settings.pickPrefix, openMax, openMs: PICK_MS_MAX },
  sharedClockMs,
);
const limits = {
  bodyBytes: options.limits.body_bytes,
  bufferedBytes: options.limits.buffered_bytes,
  streams: options.limits.streams,
  connections: options.limits.connections,
  headersBytes: options.limits.headers_bytes,
};
const gateways = new PickerServer(
  {
    host: options.host,
    port: options.port,
    tls: settings.tls,
    serves: "gateways",
    limits,
    ...(threads.count > 1 && { shared: threads }),
  },
  picker,
);
const probes = new PickerServer(
  { host: options.host, port: options.health_port, tls: null, serves: "probes", limits },
  picker,
);

const scrape = options.scrape_ms === 0 || !isFirst ? null : scrapeOf(options.scrape_ms);

function scrapeOf(intervalMs: number): { readonly load: LoadScrape; readonly pages: MetricsPages } {
  const { metrics_port, metrics_path } = options;
  const pages = new MetricsPages({ port: metrics_port, path: metrics_path, timeoutMs: 2 * intervalMs });
  const parts = {
    pages,
    sink: {
      seen: (address: string, load: EngineLoad) => {
        picker.seen(address, load);
        sharing?.tellLoad(address, load);
      },
      unseen: (address: string) => {
        picker.unseen(address);
        sharing?.tellLoad(address, null);
      },
    },
    watch: shown,
    now: sharedClockMs,
    random: Math.random,
  };
  return { load: new LoadScrape({ intervalMs }, parts), pages };
}

let beatMs = sharedClockMs();
const beating = setInterval(() => {
  const nowMs = sharedClockMs();
  threads.beat(nowMs, nowMs - beatMs - BEAT_MS);
  lagMsMax = Math.max(lagMsMax, threads.lagMs);
  beatMs = nowMs;
  log.tick();
  api.expire();
}, BEAT_MS);

const showing = setInterval(() => {
  const common = {
    isReady: picker.health("") === "serving",
    states: picker.states,
    loads: picker.loads,
    lagSeconds: lagMsMax / 1000,
    scrapeAgeSeconds: scrape?.load.ageSeconds ?? null,
  };
  void shown.show({
    bookings: picker.bookingCount,
    streams: gateways.streamCount,
    connections: gateways.connectionCount,
    bufferedBytes: gateways.bufferedBytes,
    models: picker.endpoints.map(({ model }) => model),
    common: isFirst ? common : null,
  });
  lagMsMax = 0;
}, SHOW_MS);

/** Addresses that are no endpoints, as they were last told. */
let refused = "";

function tellRefused(addresses: readonly string[]): void {
  if (!isFirst) return;
  const told = addresses.join();
  if (told === refused) return;
  refused = told;
  const [first] = addresses;
  if (first !== undefined)
    log.write("endpoints_refused", {
      addresses: addresses.slice(0, REFUSED_TOLD_MAX).join(", "),
      count: addresses.length,
    });
}

async function answerTo(
  question: PickerQuestion,
): Promise<Extract<FromPicker, { readonly kind: "answer" }>["answer"]> {
  switch (question.kind) {
    case "status":
      return {
        isReady: picker.health("readiness") === "serving",
        endpoints: picker.loads,
        states: picker.states,
        missingShards: shards?.missing ?? [],
        totals: shown.totals,
        openPicks: api.openCount,
        expiredPicks: api.expiredCount,
        threads: [
          {
            connections: gateways.connectionCount,
            streams: gateways.streamCount,
            bookings: picker.bookingCount,
          },
        ],
      };
    case "explain":
      return api.explain(question.asked);
    case "pick":
      return api.pick(question.asked);
    case "end":
      return api.end(question.pick, question.news);
    case "outcomes":
      return question.outcomes.filter(({ worker, predicted, cached }) =>
        picker.outcome(worker, predicted, cached),
      ).length;
  }
}

async function stop(): Promise<void> {
  clearInterval(beating);
  clearInterval(showing);
  if (renewing !== null) clearInterval(renewing);
  scrape?.load.stop();
  scrape?.pages.stop();
  await sharing?.stop();
  await Promise.all([
    gateways.stop(),
    probes.stop(),
    shards?.stop(),
    tokenizers.then((opened) => opened.close()),
  ]);
  // At once: a decision that is still awaited would look up in memory that the index has given to others, if the reader
  // was detached. The index does not outlive the daemon.
  process.exit(0);
}

port.on("message", (message: ToPicker) => {
  switch (message.kind) {
    case "engines": {
      directory.apply(message.batch.changes);
      const { pool } = message.batch;
      if (pool !== null) {
        tellRefused(picker.update(pool.engines, pool.standing));
        scrape?.load.follow(picker.endpoints.map(({ address }) => address));
        hasEndpoints = true;
        threads.takesRequests(wasReady);
      }
      tell({ kind: "engines_taken" });
      break;
    }
    case "tls":
      gateways.renew(message.tls);
      break;
    case "ready":
      wasReady = true;
      threads.takesRequests(hasEndpoints);
      break;
    case "drain":
      void drain(picker, gateways, options.drain_seconds * 1000).then(({ ms, reset }) => {
        tell({ kind: "drained", ms, reset });
      });
      break;
    case "ask":
      void answerTo(message.question).then((answer) => {
        tell({ kind: "answer", id: message.id, answer });
      });
      break;
    case "stop":
      void stop();
      break;
  }
});

if (options.port !== 0) await gateways.listen();
if (options.health_port !== 0 && isFirst) await probes.listen();
threads.beat(sharedClockMs(), 0);
tell({ kind: "listening" });
