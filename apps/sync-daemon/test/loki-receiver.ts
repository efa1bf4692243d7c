/**
 * A stand-in for Loki: takes log lines by OTLP over HTTP in its JSON form, as opentelemetry-proto's logs service describes it, and
 * keeps them. It answers no query.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { gunzipSync } from "node:zlib";

interface OtlpAttribute {
  readonly key: string;
  readonly value: { readonly stringValue?: string };
}

interface OtlpRecord {
  readonly timeUnixNano?: string;
  readonly observedTimeUnixNano?: string;
  readonly severityText?: string;
  readonly severityNumber?: number;
  readonly body: { readonly stringValue?: string };
  readonly attributes?: readonly OtlpAttribute[];
  readonly traceId?: string;
  readonly spanId?: string;
}

interface OtlpLogs {
  readonly resourceLogs: readonly {
    readonly resource: { readonly attributes?: readonly OtlpAttribute[] };
    readonly scopeLogs: readonly { readonly logRecords: readonly OtlpRecord[] }[];
  }[];
}

/** A line as it was received. */
export interface ReceivedLine {
  readonly body: string;
  /** ISO 8601, to the millisecond. Null without a time. */
  readonly time: string | null;
  /** Empty without one. */
  readonly severity: string;
  readonly severityNumber: number;
  readonly traceId: string;
  readonly spanId: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly resource: Readonly<Record<string, string>>;
}

const NANOSECONDS_PER_MS = 1_000_000n;

function attributesOf(list: readonly OtlpAttribute[] = []): Record<string, string> {
  return Object.fromEntries(list.map(({ key, value }) => [key, value.stringValue ?? ""]));
}

function timeOf(nanoseconds: string | undefined): string | null {
  const ms = Number(BigInt(nanoseconds ?? "0") / NANOSECONDS_PER_MS);
  return ms === 0 ? null : new Date(ms).toISOString();
}

/** One such server. Stop it. */
export class LokiReceiver {
  readonly #server: Server;
  /** In the order of their arrival. */
  readonly lines: ReceivedLine[] = [];

  private constructor() {
    this.#server = createServer((request, response) => {
      void this.#take(request, response);
    });
  }

  static async start(): Promise<LokiReceiver> {
    const started = new LokiReceiver();
    await new Promise<void>((resolve) => started.#server.listen(0, "127.0.0.1", resolve));
    return started;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await buffer(request);
    const isLogs = request.url === "/otlp/v1/logs" && request.headers["content-type"] === "application/json";
    response.statusCode = isLogs ? 200 : 404;
    if (isLogs) {
      const isPacked = request.headers["content-encoding"] === "gzip";
      this.#keep(JSON.parse(String(isPacked ? gunzipSync(body) : body)) as OtlpLogs);
    }
    response.setHeader("content-type", "application/json");
    response.end("{}");
  }

  #keep({ resourceLogs }: OtlpLogs): void {
    for (const { resource, scopeLogs } of resourceLogs) {
      for (const record of scopeLogs.flatMap(({ logRecords }) => logRecords)) {
        this.lines.push({
          body: record.body.stringValue ?? "",
          time: timeOf(record.timeUnixNano),
          severity: record.severityText ?? "",
          severityNumber: record.severityNumber ?? 0,
          traceId: record.traceId ?? "",
          spanId: record.spanId ?? "",
          attributes: attributesOf(record.attributes),
          resource: attributesOf(resource.attributes),
        });
      }
    }
  }
}
