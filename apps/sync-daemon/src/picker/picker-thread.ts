/**
 * Entry of the picker's thread: ports for gateways and probes, the picker, and obedience to the main thread
 * (picker-messages.ts). An uncaught error ends the thread, and with it the process: its books are unknown then.
 *
 *     engines ─▶ DirectoryCopy ─▶ PromptLookup ─┐
 *     index, board: shared memory ──────────────┤
 *     tokenizer of its own ─────────────────────┴─▶ Picker ◀─ PickerServer ◀─ gateways
 *
 * Not here: the main thread's side (picker-host.ts).
 */

import { randomBytes } from "node:crypto";
import { parentPort, workerData } from "node:worker_threads";

import { assert, PrefixReader } from "@kvsync/core";
import { CATALOGUE } from "@kvsync/observability/kvsync/catalogue";
import { TELEMETRY_METRICS } from "@kvsync/observability/kvsync/telemetry";
import { MetricSlots } from "@kvsync/observability/slots";

import { BoardReader } from "../board/stream-board.ts";
import { epochMs, sharedClockMs } from "../clock.ts";
import { LineGate } from "../log/line-gate.ts";
import { LogLevel } from "../log/log-level.ts";
import { droppedCounters } from "../telemetry/dropped-lines.ts";
import { ThreadSpans } from "../telemetry/thread-spans.ts";
import { Tokenizers } from "../tokenizer/tokenizers.ts";
import { ApiRequests } from "./api-requests.ts";
import { DirectoryCopy } from "./directory-copy.ts";
import { drain } from "./drain.ts";
import { LoadScrape } from "./load-scrape.ts";
import { MetricsPages } from "./metrics-page.ts";
import { PickTraces } from "./pick-traces.ts";
import { Picker } from "./picker.ts";
import type { FromPicker, PickerQuestion, PickerThreadSettings, ToPicker } from "./picker-messages.ts";
import { PickerMetrics } from "./picker-metrics.ts";
import { PickerServer } from "./picker-server.ts";
import { PickerSharing } from "./picker-sharing.ts";
import { PromptLookup } from "./prompt-lookup.ts";

/** Time between two signs of life. */
const BEAT_MS = 100;
/** Time between two standings of the gauges. */
const SHOW_MS = 1000;
/** A loop that came so late is told to gateways. */
const LAG_MS_MAX = 1000;
/** A pick over HTTP that its router never ends counts so long: longer than answers take. */
const PICK_MS_MAX = 600_000;
/** Addresses in one line of the log. */
const REFUSED_TOLD_MAX = 8;

assert(parentPort !== null, "picker-thread runs as a worker thread");
const port = parentPort;
const settings = workerData as PickerThreadSettings;
const { picker: options } = settings;
const tell = (message: FromPicker): void => {
  port.postMessage(message);
};
process.on("uncaughtException", (error: unknown) => {
  const known: NodeJS.ErrnoException = error instanceof Error ? error : new Error(String(error));
  const { name, message, stack = "", code } = known;
  tell({ kind: "failed", error: { name, message, stack, ...(code !== undefined && { code }) } });
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
});

const metrics = new MetricSlots(CATALOGUE, "picker", (announcement) => {
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
const reader = PrefixReader.attach(settings.index, { tokensMax: settings.tokenization.limits.query_tokens });
const board = new BoardReader(settings.board);
const lookup = new PromptLookup(
  { reader, board, registry: directory, now: epochMs },
  settings.tokenization.limits.query_tokens,
  (id, dpRank) => directory.isCurrent(id, dpRank),
);
/** Without one, no question to a tokenizer is made of a body, which costs as much as reading it. */
const { sync, tokenizer: tokenizerSettings } = settings.tokenization;
const hasTokenizer = sync.tokenizer_endpoint !== null || tokenizerSettings.models.length > 0;
/** Vocabularies take seconds to read. Requests until then are decided without tokens, as those of a slow tokenizer are. */
const tokenizers = Tokenizers.open(settings.tokenization, {
  metrics,
  thread: "picker",
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
const shown = new PickerMetrics(metrics, new PickTraces({ log, spans, epochOffsetMs }));
const { share } = options;
const sharing = share.url === null ? null : new PickerSharing(share.url, share, { log, now: sharedClockMs });
let hasEndpoints = false;
let wasReady = false;
let lagMs = 0;
/** Since the last standing. */
let lagMsMax = 0;
const picker = new Picker(
  {
    decisionMs: options.decision_timeout_ms,
    fallbacks: options.fallbacks,
    rankHeader: options.rank_header === true,
    capacityTokens: options.capacity_tokens,
    followsResponses: true,
    checkSample: options.check_sample,
    sessionHeader: options.session_header,
    shedObjectives: options.shed_objectives,
  },
  {
    lookup,
    tokenizer: hasTokenizer ? { tokenize: async (request) => (await tokenizers).tokenize(request) } : null,
    watch: shown,
    isReady: () => hasEndpoints && wasReady && lagMs <= LAG_MS_MAX,
    now: sharedClockMs,
    ...(sharing !== null && { sharing: sharing.parts }),
  },
);
if (picker.shared !== null) sharing?.start(picker.shared);
const api = new ApiRequests(
  picker,
  { prefix: randomBytes(4).toString("hex"), openMax: options.limits.streams, openMs: PICK_MS_MAX },
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
  { host: options.host, port: options.port, tls: settings.tls, serves: "gateways", limits },
  picker,
);
const probes = new PickerServer(
  { host: options.host, port: options.health_port, tls: null, serves: "probes", limits },
  picker,
);

const scrape = options.scrape_ms === 0 ? null : scrapeOf(options.scrape_ms);

function scrapeOf(intervalMs: number): { readonly load: LoadScrape; readonly pages: MetricsPages } {
  const { metrics_port, metrics_path } = options;
  const pages = new MetricsPages({ port: metrics_port, path: metrics_path, timeoutMs: 2 * intervalMs });
  const parts = {
    pages,
    sink: picker,
    watch: shown,
    now: sharedClockMs,
    random: Math.random,
  };
  return { load: new LoadScrape({ intervalMs }, parts), pages };
}

const beats = new Float64Array(settings.heartbeat);
let beatMs = sharedClockMs();
const beating = setInterval(() => {
  const nowMs = sharedClockMs();
  lagMs = nowMs - beatMs - BEAT_MS;
  lagMsMax = Math.max(lagMsMax, lagMs);
  beatMs = nowMs;
  beats[0] = nowMs;
  log.tick();
  api.expire();
}, BEAT_MS);

const showing = setInterval(() => {
  void shown.show({
    isReady: picker.health("") === "serving",
    bookings: picker.bookingCount,
    states: picker.states,
    loads: picker.loads,
    streams: gateways.streamCount,
    connections: gateways.connectionCount,
    bufferedBytes: gateways.bufferedBytes,
    lagSeconds: lagMsMax / 1000,
    scrapeAgeSeconds: scrape?.load.ageSeconds ?? null,
  });
  lagMsMax = 0;
}, SHOW_MS);

/** Addresses that are no endpoints, as they were last told. */
let refused = "";

function tellRefused(addresses: readonly string[]): void {
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
        totals: shown.totals,
        bookings: picker.bookingCount,
        openPicks: api.openCount,
        expiredPicks: api.expiredCount,
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
  scrape?.load.stop();
  scrape?.pages.stop();
  await sharing?.stop();
  await Promise.all([gateways.stop(), probes.stop(), tokenizers.then((opened) => opened.close())]);
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
      }
      tell({ kind: "engines_taken" });
      break;
    }
    case "tls":
      gateways.renew(message.tls);
      break;
    case "ready":
      wasReady = true;
      break;
    case "drain":
      void drain(picker, gateways, options.drain_seconds * 1000).then(({ ms, reset }) => {
        log.write("picker_drained", { seconds: Math.round(ms) / 1000, reset });
        tell({ kind: "drained" });
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
if (options.health_port !== 0) await probes.listen();
beats[0] = sharedClockMs();
log.write("picker_listening", {
  host: options.host,
  port: options.port === 0 ? null : options.port,
  health_port: options.health_port === 0 ? null : options.health_port,
});
tell({ kind: "listening" });
