/**
 * The cost of node:http2 alone for a picker's exchanges: a server that decides nothing. It answers with frames of the picker's
 * sizes, in as few writes as it can.
 *
 *     node apps/sync-daemon/bench/picker-floor.ts               for picker.bench.ts: counts bytes, and reads none. Its client
 *                                                               sends in `x-request-bytes` how many come before the pick
 *     node apps/sync-daemon/bench/picker-floor.ts ADDRESS,…     for Envoy, in full duplex: picks each address in turn
 *
 * Prints its port, and serves until it is ended.
 */
import { createServer, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { argv } from "node:process";

import {
  decodeRequest,
  encodeChunkHead,
  encodeContinue,
  encodePick,
  framed,
  isFault,
} from "../src/picker/wire/ext-proc-codec.ts";
import { GrpcFrames } from "../src/picker/wire/grpc-frames.ts";
import { encodeHealthAnswer } from "../src/picker/wire/health-codec.ts";

const MIB = 1024 * 1024;
const RESETS = 1_000_000;
const HEAD = { ":status": 200, "content-type": "application/grpc" };
const TRAILERS = { "grpc-status": "0" };
const addresses = argv[2]?.split(",") ?? [];
/** Picks for Envoy so far. */
let picks = 0;

/** As long as the picker's. */
function pickOf(destination: string): Buffer {
  return encodePick("request_headers", {
    destination,
    setHeaders: [],
    removeHeaders: Array.from({ length: 9 }, () => "x-gateway-destination-endpoint-x"),
    facts: { worker: "engine-1", matched_tokens: 0, prompt_tokens: 8, trust: "unknown", decision: "load" },
  });
}

const PICK = pickOf("10.0.0.1:8000,10.0.0.2:8000,10.0.0.3:8000");
const RESPONSE = encodeContinue("response_headers");

const server = createServer({
  settings: { initialWindowSize: MIB, maxConcurrentStreams: 10_000 },
  maxSessionMemory: 64,
  streamResetBurst: RESETS,
  streamResetRate: RESETS,
});
server.on("session", (session) => {
  session.setLocalWindowSize(16 * MIB);
});
/** Answers the messages of one request. */
function answerEnvoy(stream: ServerHttp2Stream): void {
  const bodies: Uint8Array[] = [];
  const frames = new GrpcFrames(MIB, (bytes) => {
    const message = decodeRequest(bytes);
    if (isFault(message) || message.kind === "response_headers") {
      stream.end(RESPONSE);
      return;
    }
    bodies.push(message.body);
    if (!message.endOfStream) return;
    const first = picks++ % addresses.length;
    stream.cork();
    stream.write(pickOf([...addresses.slice(first), ...addresses.slice(0, first)].slice(0, 3).join(",")));
    const body = Buffer.concat(bodies);
    stream.write(encodeChunkHead("request_body", body.length, true));
    stream.write(body);
    stream.uncork();
  });
  stream.on("data", (chunk: Buffer) => {
    frames.push(chunk);
  });
}

server.on("stream", (stream, headers) => {
  const expected = Number(headers["x-request-bytes"]);
  const chunks: Buffer[] = [];
  let bytes = 0;
  stream.respond(HEAD, { waitForTrailers: true });
  stream.on("wantTrailers", () => {
    stream.sendTrailers(TRAILERS);
    setImmediate(() => {
      stream.close();
    });
  });
  stream.on("error", () => undefined);
  if (headers[":path"] === "/grpc.health.v1.Health/Check") {
    stream.end(framed(encodeHealthAnswer("serving")));
    return;
  }
  if (addresses.length > 0) {
    answerEnvoy(stream);
    return;
  }
  stream.on("data", (chunk: Buffer) => {
    if (bytes >= expected) {
      stream.end(RESPONSE);
      return;
    }
    bytes += chunk.length;
    chunks.push(chunk);
    if (bytes < expected) return;
    stream.cork();
    stream.write(PICK);
    for (const one of chunks) stream.write(one);
    stream.uncork();
  });
});
server.listen(0, "127.0.0.1", () => {
  console.log((server.address() as AddressInfo).port);
});
