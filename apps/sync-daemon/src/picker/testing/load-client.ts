/**
 * A gateway's side of ext_proc that costs little, for many requests. Frames are made once, and answers are read only as far as
 * success needs it.
 *
 * A header has the number of bytes before the pick, for servers that read nothing (bench/picker-floor.ts).
 *
 *     request headers, body ─▶ picker ─▶ pick, body ─▶ response headers ─▶ picker ─▶ their answer, grpc-status 0
 *
 * Bodies are in full duplex; the response's is not sent.
 */
import { type ClientHttp2Session, connect, constants, type IncomingHttpHeaders } from "node:http2";

import { DESTINATION, framed } from "../wire/ext-proc-codec.ts";
import { GrpcFrames } from "../wire/grpc-frames.ts";
import { ProtoWriter } from "../wire/proto-writer.ts";

const PROCESS = "/envoy.service.ext_proc.v3.ExternalProcessor/Process";
const MIB = 1024 * 1024;
const FULL_DUPLEX = 4;
/** As gateways cut bodies. */
const CHUNK_BYTES = 62_000;
const MESSAGE_BYTES_MAX = MIB;
/** First bytes of answers: to the request's headers, and to the response's. */
const HEADERS_ANSWER = 0x0a;
const RESPONSE_ANSWER = 0x12;

/** A request as its frames: those before the pick, and the response's headers. */
export interface Frames {
  readonly request: readonly Buffer[];
  readonly requestBytes: number;
  readonly response: Buffer;
}

/** A POST with this body. */
export function framesOf(body: string, path = "/v1/completions"): Frames {
  const headers = new ProtoWriter();
  headers.open(2);
  headers.open(1);
  for (const [key, value] of [
    [":method", "POST"],
    [":path", path],
    [":authority", "bench"],
    [":scheme", "http"],
    ["content-type", "application/json"],
    ["user-agent", "bench"],
    ["accept", "*/*"],
    ["x-request-id", "0f8fad5b-d9cb-469f-a165-70867728950e"],
  ] as const) {
    headers.open(1);
    headers.text(1, key);
    headers.text(3, value);
    headers.close();
  }
  headers.close();
  headers.close();
  headers.open(11);
  headers.uint32(1, FULL_DUPLEX);
  headers.close();
  const bytes = Buffer.from(body);
  const chunks: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
    const chunk = new ProtoWriter();
    chunk.open(4);
    chunk.bytes(1, bytes.subarray(at, at + CHUNK_BYTES));
    if (at + CHUNK_BYTES >= bytes.length) chunk.yes(2);
    chunk.close();
    chunks.push(framed(chunk.take()));
  }
  const response = new ProtoWriter();
  response.open(3);
  response.yes(3);
  response.close();
  const request = [framed(headers.take()), ...chunks];
  const requestBytes = request.reduce((sum, frame) => sum + frame.length, 0);
  return { request, requestBytes, response: framed(response.take()) };
}

/**
 * How a request ends: by the picker's status after its response; by the gateway's reset after it, as Envoy does; by a client that
 * leaves after the pick.
 */
export type Ending = "status" | "reset" | "leave";

/** How one request went. `failed` has why. */
export type Went = "ok" | { readonly failed: string };

/** One connection of a gateway. */
export class LoadClient {
  readonly #session: ClientHttp2Session;

  constructor(port: number) {
    this.#session = connect(`http://127.0.0.1:${port}`, {
      maxSessionMemory: 200,
      settings: { initialWindowSize: 4 * MIB },
    });
    this.#session.on("error", () => undefined);
  }

  /**
   * One request from its headers to its end.
   */
  send({ request, requestBytes, response }: Frames, ending: Ending): Promise<Went> {
    return new Promise((resolve) => {
      const stream = this.#session.request({
        ":method": "POST",
        ":path": PROCESS,
        te: "trailers",
        "x-request-bytes": String(requestBytes),
      });
      let isPicked = false;
      let answers = 0;
      let status = "none";
      const messages = new GrpcFrames(MESSAGE_BYTES_MAX, (message) => {
        answers += 1;
        if (answers === 1) {
          // The first answer is that to the headers, and names an endpoint.
          isPicked = message[0] === HEADERS_ANSWER && Buffer.from(message).includes(DESTINATION);
          if (isPicked && ending !== "leave") stream.write(response);
          else stream.close(constants.NGHTTP2_CANCEL);
        } else if (ending === "reset" && message[0] === RESPONSE_ANSWER)
          stream.close(constants.NGHTTP2_CANCEL);
      });
      stream.on("response", (headers) => {
        if (headers["grpc-status"] !== undefined) status = String(headers["grpc-status"]);
      });
      stream.on("trailers", (headers: IncomingHttpHeaders) => {
        status = String(headers["grpc-status"]);
      });
      stream.on("data", (chunk: Buffer) => {
        messages.push(chunk);
      });
      stream.on("error", () => undefined);
      stream.on("close", () => {
        const isOk =
          isPicked && (ending === "status" ? status === "0" : stream.rstCode === constants.NGHTTP2_CANCEL);
        resolve(isOk ? "ok" : { failed: `picked: ${isPicked}, status ${status}, reset ${stream.rstCode}` });
      });
      for (const frame of request) stream.write(frame);
    });
  }

  /** Ends the connection. */
  close(): void {
    this.#session.destroy();
  }
}

/** Sends `count` requests of these kinds in turn, `clients` at once. @returns milliseconds of each, and failures by what went wrong. */
export async function sendAll(
  client: LoadClient,
  kinds: readonly Frames[],
  count: number,
  clients: number,
  endingOf: (number: number) => Ending = () => "status",
): Promise<{ readonly ms: readonly number[]; readonly failures: ReadonlyMap<string, number> }> {
  const ms: number[] = [];
  const failures = new Map<string, number>();
  let next = 0;
  const one = async (): Promise<void> => {
    while (next < count) {
      const number = next++;
      const beganMs = performance.now();
      const frames = kinds[number % kinds.length];
      if (frames === undefined) return;
      const went = await client.send(frames, endingOf(number));
      ms.push(performance.now() - beganMs);
      if (went !== "ok") failures.set(went.failed, (failures.get(went.failed) ?? 0) + 1);
    }
  };
  await Promise.all(Array.from({ length: clients }, one));
  return { ms, failures };
}

/** Waits until the picker takes requests. */
export async function ready(client: LoadClient, kinds: readonly Frames[]): Promise<void> {
  while ((await sendAll(client, kinds, 1, 1)).failures.size > 0)
    await new Promise((resolve) => setTimeout(resolve, 50));
}
