/**
 * A picker that leaves each stream after the headers of the response, which ours never does: for the test that shows why.
 * It picks nothing and sends every body back.
 */

import { once } from "node:events";
import { createServer, type Http2Server, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";

import { GrpcFrames, PREFIX_BYTES, writePrefix } from "../src/picker/wire/grpc-frames.ts";
import { referenceDecode, referenceEncode } from "../src/picker/wire/testing/reference-codec.ts";

const MESSAGE_BYTES_MAX = 4 * 1024 * 1024;
const SERVING = 1;

/** A message of the gateway, as far as it counts here. */
interface Asked {
  readonly requestBody?: { readonly body?: string; readonly endOfStream?: boolean };
  readonly responseHeaders?: object;
}

/** Starts one. Close it. */
export async function leavingPicker(): Promise<{ server: Http2Server; port: number; left: () => number }> {
  let left = 0;
  const server = createServer();
  server.on("stream", (stream, headers) => {
    stream.on("error", () => undefined);
    stream.on("wantTrailers", () => {
      stream.sendTrailers({ "grpc-status": "0" });
    });
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    if (headers[":path"]?.startsWith("/grpc.health") === true) {
      stream.end(framed(referenceEncode("HealthCheckResponse", { status: SERVING })));
      return;
    }
    const frames = new GrpcFrames(MESSAGE_BYTES_MAX, (bytes) => {
      if (answer(stream, referenceDecode("ProcessingRequest", bytes))) left += 1;
    });
    stream.on("data", (chunk: Buffer) => {
      frames.push(chunk);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { server, port: (server.address() as AddressInfo).port, left: () => left };
}

/** @returns whether it has left. */
function answer(stream: ServerHttp2Stream, { requestBody, responseHeaders }: Asked): boolean {
  if (responseHeaders !== undefined) {
    stream.end(framed(referenceEncode("ProcessingResponse", { responseHeaders: { response: {} } })));
    return true;
  }
  // In full duplex a body goes back as it comes.
  const response = requestBody === undefined ? {} : { bodyMutation: { streamedResponse: requestBody } };
  const message =
    requestBody === undefined ? { requestHeaders: { response } } : { requestBody: { response } };
  stream.write(framed(referenceEncode("ProcessingResponse", message)));
  return false;
}

function framed(message: Uint8Array): Buffer {
  const frame = Buffer.alloc(PREFIX_BYTES + message.length);
  writePrefix(frame, 0, message.length);
  frame.set(message, PREFIX_BYTES);
  return frame;
}
