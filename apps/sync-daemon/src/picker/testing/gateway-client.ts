/** A gateway's side of gRPC streams, over node:http2, for tests: it sends what protobufjs encodes and reads what it decodes. */
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  type IncomingHttpHeaders,
  type SecureClientSessionOptions,
} from "node:http2";

import { framed } from "../wire/ext-proc-codec.ts";
import { GrpcFrames } from "../wire/grpc-frames.ts";
import { referenceDecode, referenceEncode } from "../wire/testing/reference-codec.ts";

const PROCESS = "/envoy.service.ext_proc.v3.ExternalProcessor/Process";
const HEALTH = "/grpc.health.v1.Health/Check";

/** How a stream ended. */
export interface StreamOutcome {
  /** -1 when no status came. */
  readonly status: number;
  readonly message: string;
}

/** One stream. */
export class GatewayStream {
  readonly stream: ClientHttp2Stream;
  readonly answers: Record<string, unknown>[] = [];
  readonly outcome: Promise<StreamOutcome>;
  #waiting: (() => void)[] = [];

  constructor(stream: ClientHttp2Stream, decodes = true) {
    this.stream = stream;
    let status = -1;
    let message = "";
    const read = (headers: IncomingHttpHeaders): void => {
      if (headers["grpc-status"] === undefined) return;
      status = Number(headers["grpc-status"]);
      message = [headers["grpc-message"] ?? ""].flat().join();
    };
    const frames = new GrpcFrames(64 * 1024 * 1024, (bytes) => {
      this.answers.push(
        decodes ? referenceDecode("ProcessingResponse", bytes) : { bytes: Buffer.from(bytes) },
      );
      this.#tell();
    });
    stream.on("response", read);
    stream.on("trailers", read);
    stream.on("data", (chunk: Buffer) => frames.push(chunk));
    stream.on("error", () => undefined);
    this.outcome = new Promise((resolve) => {
      stream.on("close", () => {
        resolve({ status, message });
        this.#tell();
      });
    });
  }

  /** Sends one message. */
  send(value: Record<string, unknown>): void {
    this.stream.write(framed(Buffer.from(referenceEncode("ProcessingRequest", value))));
  }

  /** Resolves when `count` answers have come, or the stream is closed. */
  async answered(count: number): Promise<Record<string, unknown>[]> {
    while (this.answers.length < count && !this.stream.closed) {
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
      });
    }
    return this.answers;
  }

  #tell(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting = [];
  }
}

/** One connection. */
export class GatewayClient {
  readonly session: ClientHttp2Session;

  constructor(url: string, options: SecureClientSessionOptions = {}) {
    // A test may have much more under way than a session's own limit of 10 MB.
    this.session = connect(url, { maxSessionMemory: 200, ...options });
    this.session.on("error", () => undefined);
  }

  /** Opens a stream of a request, or of another method. */
  open(path = PROCESS): GatewayStream {
    return new GatewayStream(this.session.request({ ":method": "POST", ":path": path, te: "trailers" }));
  }

  /** The number of a service's serving status. */
  async health(service: string): Promise<number> {
    const stream = new GatewayStream(
      this.session.request({ ":method": "POST", ":path": HEALTH, te: "trailers" }),
      false,
    );
    stream.stream.end(framed(Buffer.from(referenceEncode("HealthCheckRequest", { service }))));
    await stream.outcome;
    const { bytes } = stream.answers[0] as { bytes: Buffer };
    return referenceDecode("HealthCheckResponse", bytes)["status"] as number;
  }

  /** Ends the connection. */
  close(): void {
    this.session.destroy();
  }
}
