/**
 * A collector: takes OTLP over HTTP in its JSON form, as opentelemetry-proto's trace service describes it, and keeps the spans.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

interface OtlpValue {
  readonly stringValue?: string;
  readonly intValue?: string | number;
  readonly doubleValue?: number;
  readonly boolValue?: boolean;
}

interface OtlpAttribute {
  readonly key: string;
  readonly value: OtlpValue;
}

interface OtlpSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes?: readonly OtlpAttribute[];
  readonly status?: { readonly code?: number; readonly message?: string };
}

interface OtlpBody {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly OtlpAttribute[] };
    readonly scopeSpans: readonly { readonly spans: readonly OtlpSpan[] }[];
  }[];
}

const KINDS = ["unspecified", "internal", "server", "client"] as const;
const FAILED = 2;

/** A span as it was received. */
export interface ReceivedSpan {
  readonly traceId: string;
  readonly spanId: string;
  /** Null of a root. */
  readonly parentSpanId: string | null;
  readonly name: string;
  readonly kind: (typeof KINDS)[number];
  readonly seconds: number;
  readonly attributes: Readonly<Record<string, string | number | boolean>>;
  readonly isFailed: boolean;
  readonly resource: Readonly<Record<string, string | number | boolean>>;
}

function attributesOf(list: readonly OtlpAttribute[]): Record<string, string | number | boolean> {
  return Object.fromEntries(
    list.map(({ key, value: { stringValue, intValue, doubleValue, boolValue } }) => [
      key,
      stringValue ??
        (intValue === undefined ? undefined : Number(intValue)) ??
        doubleValue ??
        boolValue ??
        "",
    ]),
  );
}

/** One such collector. */
export class OtlpReceiver {
  readonly #server: Server;
  /** In the order of their arrival. */
  readonly spans: ReceivedSpan[] = [];
  /** Bodies as they came. */
  readonly bodies: string[] = [];
  readonly headers: IncomingMessage["headers"][] = [];
  /** Status of the answers to come. */
  status = 200;

  private constructor() {
    this.#server = createServer((request, response) => {
      void this.#take(request, response);
    });
  }

  static async start(): Promise<OtlpReceiver> {
    const started = new OtlpReceiver();
    await new Promise<void>((resolve) => started.#server.listen(0, "127.0.0.1", resolve));
    return started;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Spans of one name. */
  named(name: string): readonly ReceivedSpan[] {
    return this.spans.filter((span) => span.name === name);
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = "";
    for await (const chunk of request) body += String(chunk);
    const isTrace = request.url === "/v1/traces" && request.headers["content-type"] === "application/json";
    response.statusCode = isTrace ? this.status : 404;
    if (response.statusCode === 200) {
      this.bodies.push(body);
      this.headers.push(request.headers);
      this.#keep(JSON.parse(body) as OtlpBody);
    }
    response.setHeader("content-type", "application/json");
    response.end("{}");
  }

  #keep({ resourceSpans }: OtlpBody): void {
    for (const { resource, scopeSpans } of resourceSpans) {
      for (const span of scopeSpans.flatMap(({ spans }) => spans)) {
        const { traceId, spanId, parentSpanId = "", name, kind, attributes = [], status } = span;
        const nanoseconds = BigInt(span.endTimeUnixNano) - BigInt(span.startTimeUnixNano);
        this.spans.push({
          traceId,
          spanId,
          parentSpanId: parentSpanId === "" ? null : parentSpanId,
          name,
          kind: KINDS[kind] ?? "unspecified",
          seconds: Number(nanoseconds) / 1e9,
          attributes: attributesOf(attributes),
          isFailed: status?.code === FAILED,
          resource: attributesOf(resource.attributes),
        });
      }
    }
  }
}
