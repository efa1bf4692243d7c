/**
 * Traces, for a daemon whose settings name a collector. Only this file and span-export.ts import
 * OpenTelemetry, and this file is imported only when tracing is on (`startTracing`). A daemon
 * without tracing has neither the SDK in memory nor a call into it.
 *
 *     traceparent ─▶ request span ─┬─▶ lookup                    spans begin and end here, the active one
 *                                  ├─▶ tokenize ─▶ POST ─▶ …      travels with the asynchronous context
 *                                  └─▶ snapshot.write
 *     ingest threads ─FinishedSpan─▶ ingest.apply, ingest.replay  begun and ended there, sampled there
 *     picker's thread ─FinishedSpan─▶ pick ─▶ tokenize, pick.lookup
 *
 * Invariants
 *  S1  A caller's `traceparent` decides whether the request is traced; else the ratio does. Rare
 *      work (snapshots, replays) is always traced, and so are the spans that an ingest thread has
 *      chosen.
 *  S2  Attributes are names, numbers and codes. No token, prompt, hash, address of a request, or message of an error.
 *  S3  Nothing global: two daemons in one process have each their own.
 */

import { hostname } from "node:os";

import { type SpanName, spanOf, SPANS } from "@kvsync/observability/kvsync/spans";
import type { SpanOutcome } from "@kvsync/observability/kvsync/telemetry";
import type { Exactly } from "@kvsync/observability/signals/field";
import type { Attributes } from "@kvsync/observability/signals/span";
import {
  type Attributes as OtelAttributes,
  type Context,
  createContextKey,
  type Link,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  type TextMapGetter,
  type TextMapSetter,
  trace,
  TraceFlags,
  type Tracer,
} from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import {
  defaultResource,
  detectResources,
  envDetector,
  resourceFromAttributes,
} from "@opentelemetry/resources";
import {
  BatchSpanProcessor,
  type IdGenerator,
  ParentBasedSampler,
  RandomIdGenerator,
  type Sampler,
  SamplingDecision,
  type SamplingResult,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from "@opentelemetry/sdk-trace";

import type { TraceIds, WriteEvent } from "../log/log-line.ts";
import type { FinishedSpan, SpanIds } from "./finished-span.ts";
import { BoundedProcessor, CountedExporter, SPANS_WAITING_MAX } from "./span-export.ts";
import type { TracingSettings } from "../settings/tracing-settings.ts";

/** Longest that a span waits for a batch: two requests a second, and a trace is there when one looks for it. */
const BATCH_MS = 500;
/** Time for what waits when stopping; a collector that is away must not hold it up. */
const LAST_EXPORT_MS = 500;
/** A collector that takes longer has failed. */
const EXPORT_MS = 5000;
/** A model's name may be long; nothing else is. */
const ATTRIBUTE_CHARACTERS_MAX = 256;

/** Spans that begin and end around some work of the main thread. */
type WorkSpanName = Exclude<SpanName, "request" | "ingest.apply" | "ingest.replay" | "pick" | "pick.lookup">;

/** What tracing works with. */
export interface TracingDependencies {
  readonly version: string;
  readonly count: (outcome: SpanOutcome, spans: number) => void;
  readonly log: WriteEvent;
}

/** A span that has begun, with the context of what happens within it. */
export interface OpenSpan {
  readonly span: Span;
  readonly context: Context;
}

/** A span under way, with the attributes that its name declares. */
export interface NamedSpan<Name extends SpanName> {
  /** Gives it all its attributes. */
  set<Given extends Attributes<(typeof SPANS)[Name]>>(
    attributes: Exactly<Attributes<(typeof SPANS)[Name]>, Given>,
  ): void;
  /** Marks it as failed, with a code. */
  fail(error: string): void;
  /** Whether it is traced. */
  readonly isRecording: boolean;
}

const KINDS = { server: SpanKind.SERVER, client: SpanKind.CLIENT, internal: SpanKind.INTERNAL } as const;

function namedSpan<Name extends SpanName>(span: Span): NamedSpan<Name> {
  return {
    set: (attributes) => {
      span.setAttributes({ ...attributes });
    },
    fail: (error) => {
      fail(span, error);
    },
    isRecording: span.isRecording(),
  };
}

type RequestHeaders = Readonly<Record<string, string | string[] | undefined>>;

const HEADER_GETTER: TextMapGetter<RequestHeaders> = {
  get: (headers, key) => headers[key],
  keys: (headers) => Object.keys(headers),
};
const HEADER_SETTER: TextMapSetter<Record<string, string>> = {
  set: (headers, key, value) => {
    headers[key] = value;
  },
};

const CHOSEN = createContextKey("kvsync: traced in any case");

/** A root is traced when it was chosen, else by the ratio. */
class RootSampler implements Sampler {
  readonly #ratio: Sampler;

  constructor(ratio: number) {
    this.#ratio = new TraceIdRatioBasedSampler(ratio);
  }

  shouldSample(
    context: Context,
    traceId: string,
    name: string,
    kind: SpanKind,
    attributes: OtelAttributes,
    links: Link[],
  ): SamplingResult {
    if (context.getValue(CHOSEN) === true) return { decision: SamplingDecision.RECORD_AND_SAMPLED };
    return this.#ratio.shouldSample(context, traceId, name, kind, attributes, links);
  }

  toString(): string {
    return `RootSampler{${this.#ratio.toString()}}`;
  }
}

/** Random ids, but for a span that another process has heard of. */
class GivenIds implements IdGenerator {
  readonly #random = new RandomIdGenerator();
  #given: SpanIds | null = null;

  readonly generateTraceId = (): string => this.#given?.traceId ?? this.#random.generateTraceId();
  readonly generateSpanId = (): string => this.#given?.spanId ?? this.#random.generateSpanId();

  /** Begins one span under these ids. */
  under<Result>(ids: SpanIds | null, begin: () => Result): Result {
    this.#given = ids;
    try {
      return begin();
    } finally {
      this.#given = null;
    }
  }
}

/** Makes spans of one daemon. */
export class Tracing {
  readonly #ids = new GivenIds();
  readonly #provider: TracerProvider;
  readonly #tracer: Tracer;
  readonly #contexts = new AsyncLocalStorageContextManager();
  readonly #propagator = new W3CTraceContextPropagator();

  /**
   * @param endpoint - base URL of the collector.
   * @param settings - how many spans.
   * @param dependencies - who hears.
   */
  constructor(endpoint: string, settings: TracingSettings, dependencies: TracingDependencies) {
    const { version, count, log } = dependencies;
    const { origin } = new URL(endpoint);
    const url = `${endpoint.replace(/\/+$/, "")}/v1/traces`;
    const sender = new OTLPTraceExporter({ url, timeoutMillis: EXPORT_MS });
    const processor = new BoundedProcessor((left) => {
      const exporter = new CountedExporter(sender, { count, log, origin }, left);
      return new BatchSpanProcessor({
        exporter,
        scheduledDelayMillis: BATCH_MS,
        maxQueueSize: SPANS_WAITING_MAX,
      });
    }, count);
    const own = resourceFromAttributes({
      "service.name": "kvsync",
      "service.version": version,
      "service.instance.id": `${hostname()}:${process.pid}`,
    });
    this.#provider = new TracerProvider({
      // The operator's OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES come last: they win.
      resource: defaultResource()
        .merge(own)
        .merge(detectResources({ detectors: [envDetector] })),
      idGenerator: this.#ids,
      sampler: new ParentBasedSampler({ root: new RootSampler(settings.ratio) }),
      spanLimits: { attributeValueLengthLimit: ATTRIBUTE_CHARACTERS_MAX },
      spanProcessors: [processor],
    });
    this.#tracer = this.#provider.getTracer("kvsync", version);
    this.#contexts.enable();
  }

  /**
   * Runs something within a span of its own, a child of the active one.
   *
   * @param name - of the span.
   * @param work - is given the span; what it does, and what that waits for, belongs to it.
   * @param startMs - milliseconds since the Unix epoch, of work that began before; now without.
   * @returns what `work` does; the span ends when that is there, or when the promise that it is settles.
   * @throws what `work` throws; the span has the error's type or code.
   */
  within<Name extends WorkSpanName, Result>(
    name: Name,
    work: (span: NamedSpan<Name>) => Result,
    startMs?: number,
  ): Result {
    const active = this.#contexts.active();
    const { kind, sampled } = spanOf(name);
    const parent = sampled === "always" ? active.setValue(CHOSEN, true) : active;
    const start = startMs === undefined ? {} : { startTime: startMs };
    const span = this.#tracer.startSpan(name, { kind: KINDS[kind], ...start }, parent);
    const failed = (error: unknown): never => {
      fail(span, errorType(error));
      span.end();
      throw error;
    };
    let result: Result;
    try {
      result = this.#contexts.with(trace.setSpan(parent, span), () => work(namedSpan(span)));
    } catch (error) {
      return failed(error);
    }
    if (!(result instanceof Promise)) {
      span.end();
      return result;
    }
    const settled = result.then((value: unknown) => {
      span.end();
      return value;
    }, failed);
    return settled as Result;
  }

  /**
   * Begins the span of a request that was received.
   *
   * @param method - of HTTP.
   * @param route - its template.
   * @param headers - of the request; its `traceparent` is continued.
   */
  openRequest(method: string, route: string, headers: RequestHeaders): OpenSpan {
    const from = this.#propagator.extract(ROOT_CONTEXT, headers, HEADER_GETTER);
    const attributes: Attributes<typeof SPANS.request> = {
      "http.request.method": method,
      "http.route": route,
    };
    const kind = KINDS[SPANS.request.kind];
    const span = this.#tracer.startSpan(`${method} ${route}`, { kind, attributes: { ...attributes } }, from);
    return { span, context: trace.setSpan(from, span) };
  }

  /** Runs something in the context of an open span. */
  run(open: OpenSpan, work: () => void): void {
    this.#contexts.with(open.context, work);
  }

  /**
   * Ends the span of a request.
   *
   * @param open - by `openRequest`.
   * @param status - of the answer; null when the caller disconnected.
   * @param error - a status or a code, null when nothing went wrong on our side.
   */
  close({ span }: OpenSpan, status: number | null, error: string | null): void {
    const attributes: Partial<Attributes<typeof SPANS.request>> =
      status === null ? {} : { "http.response.status_code": status };
    span.setAttributes({ ...attributes });
    if (error !== null) fail(span, error);
    span.end();
  }

  /**
   * Records what another thread has chosen and done.
   *
   * @returns its trace, when it is sampled.
   */
  record(finished: FinishedSpan): string | null {
    const { traceparent } = finished;
    const from =
      traceparent === undefined
        ? ROOT_CONTEXT.setValue(CHOSEN, true)
        : this.#propagator.extract(ROOT_CONTEXT, { traceparent }, HEADER_GETTER);
    return this.#recordWithin(from, finished);
  }

  #recordWithin(
    context: Context,
    { name, startMs, endMs, facts, error, ids, parts = [] }: FinishedSpan,
  ): string | null {
    const options = { kind: KINDS[spanOf(name).kind], startTime: startMs, attributes: { ...facts } };
    const span = this.#ids.under(ids ?? null, () => this.#tracer.startSpan(name, options, context));
    for (const part of parts) this.#recordWithin(trace.setSpan(context, span), part);
    if (error !== null) fail(span, error);
    span.end(endMs);
    return sampledTraceOf(span);
  }

  /**
   * Headers for a call to another process.
   *
   * @returns `traceparent` (and `tracestate`, if the caller had one) of the active span; empty without one.
   */
  headers(): Record<string, string> {
    const headers: Record<string, string> = {};
    this.#propagator.inject(this.#contexts.active(), headers, HEADER_SETTER);
    return headers;
  }

  /** The trace and span at hand; null outside of any. */
  activeIds(): TraceIds | null {
    const span = trace.getSpan(this.#contexts.active());
    return span === undefined ? null : idsOf(span);
  }

  /** The trace at hand, when it is sampled; null outside of any. */
  sampledTrace(): string | null {
    const span = trace.getSpan(this.#contexts.active());
    return span === undefined ? null : sampledTraceOf(span);
  }

  /** Sends what waits, and ends; gives up after LAST_EXPORT_MS. */
  async stop(): Promise<void> {
    const overdue = new Promise<void>((resolve) => setTimeout(resolve, LAST_EXPORT_MS).unref());
    await Promise.race([this.#provider.shutdown().catch(() => undefined), overdue]);
    this.#contexts.disable();
  }
}

function idsOf(span: Span): TraceIds {
  const { traceId, spanId } = span.spanContext();
  return { trace_id: traceId, span_id: spanId };
}

function sampledTraceOf(span: Span): string | null {
  const { traceId, traceFlags } = span.spanContext();
  return (traceFlags & TraceFlags.SAMPLED) === 0 ? null : traceId;
}

function fail(span: Span, error: string): void {
  span.setAttribute("error.type", error);
  span.setStatus({ code: SpanStatusCode.ERROR });
}

/** The code of one of our errors, else its type: never its message (S2). */
function errorType(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  return "code" in error && typeof error.code === "string" ? error.code : error.name;
}
