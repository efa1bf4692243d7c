/**
 * The CPU that node:http2 alone takes for the exchanges of picker.bench.ts: a server that decides nothing, and counts bytes without
 * reading them. It answers with frames of the picker's sizes, in as few writes as it can.
 *
 *     node apps/sync-daemon/bench/picker-floor.ts      prints its port, and serves until it is ended
 *
 * Its client sends in `x-request-bytes` how many bytes come before the pick.
 */
import { createServer } from "node:http2";
import type { AddressInfo } from "node:net";

import { encodeContinue, encodePick } from "../src/picker/wire/ext-proc-codec.ts";

const MIB = 1024 * 1024;
const RESETS = 1_000_000;
const HEAD = { ":status": 200, "content-type": "application/grpc" };
const TRAILERS = { "grpc-status": "0" };
/** As long as the picker's. */
const PICK = encodePick("request_headers", {
  destination: "10.0.0.1:8000,10.0.0.2:8000,10.0.0.3:8000",
  setHeaders: [],
  removeHeaders: Array.from({ length: 9 }, () => "x-gateway-destination-endpoint-x"),
  facts: { worker: "engine-1", matched_tokens: 0, prompt_tokens: 8, trust: "unknown", decision: "load" },
});
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
