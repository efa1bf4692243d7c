/**
 * The cost of a response that passes the picker in full duplex: CPU time of its thread for each chunk. A daemon process picks; this
 * process speaks ext_proc to it without Envoy. A chunk is sent when the one before has come back, as tokens come one by one.
 *
 *     node apps/sync-daemon/bench/picker-chunks.bench.ts [streams=40] [chunks=500] [rounds=5]
 *
 * The cost of the streams themselves is taken off: that of the same streams with two chunks each. Needs Linux and Node 24.
 */
import { type ClientHttp2Session, connect } from "node:http2";
import { argv } from "node:process";

import { GrpcFrames } from "../src/picker/wire/grpc-frames.ts";
import { framed } from "../src/picker/wire/ext-proc-codec.ts";
import { referenceEncode } from "../src/picker/wire/testing/reference-codec.ts";
import { machine, MODEL, PickerDaemon } from "./picker-process.ts";
import { benchFigure } from "../../../packages/core/bench/bench-figure.ts";

const ENGINES = 16;
const PATH = "/envoy.service.ext_proc.v3.ExternalProcessor/Process";
const FULL_DUPLEX = { requestBodyMode: 4, responseBodyMode: 4 };
const MESSAGE_BYTES_MAX = 1024 * 1024;
const FEW_CHUNKS = 2;
/** An event of a stream with one token, as vLLM writes it. */
const CHUNK_BYTES = 200;

function message(value: object): Buffer {
  return framed(Buffer.from(referenceEncode("ProcessingRequest", value as Record<string, unknown>)));
}

const body = Buffer.from(JSON.stringify({ model: MODEL, prompt: [1, 2, 3, 4, 5, 6, 7, 8] }));
const header = (key: string, value: string): object => ({ key, rawValue: Buffer.from(value) });
const headers = [header(":method", "POST"), header(":path", "/v1/completions")];
const REQUEST = Buffer.concat([
  message({ requestHeaders: { headers: { headers } }, protocolConfig: FULL_DUPLEX }),
  message({ requestBody: { body, endOfStream: true } }),
]);
const RESPONSE = message({ responseHeaders: {} });
const CHUNK = message({ responseBody: { body: Buffer.alloc(CHUNK_BYTES, "x") } });
const LAST = message({ responseBody: { body: Buffer.alloc(CHUNK_BYTES, "x"), endOfStream: true } });

/** One request. @returns the chunks that came back; resolves with the stream's end. */
function ask(session: ClientHttp2Session, chunks: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ":method": "POST", ":path": PATH, te: "trailers" });
    // Two answers to the request, one to the response's headers, then the chunks.
    let answers = 0;
    const frames = new GrpcFrames(MESSAGE_BYTES_MAX, () => {
      answers += 1;
      if (answers === 2) stream.write(RESPONSE);
      else if (answers > 2 && answers < 3 + chunks) stream.write(answers === 2 + chunks ? LAST : CHUNK);
    });
    stream.on("data", (chunk: Buffer) => frames.push(chunk));
    stream.on("error", reject);
    stream.on("close", () => {
      resolve(answers - 3);
    });
    stream.write(REQUEST);
  });
}

/** @returns ms of CPU of the picker's thread for all streams. */
async function round(
  daemon: PickerDaemon,
  session: ClientHttp2Session,
  streams: number,
  chunks: number,
): Promise<number> {
  const before = daemon.threadCpuMs;
  const came = await Promise.all(Array.from({ length: streams }, () => ask(session, chunks)));
  if (came.some((count) => count !== chunks)) throw new Error(`chunks came back: ${came.join(" ")}`);
  return daemon.threadCpuMs - before;
}

const streams = benchFigure("streams", argv[2] ?? 40, 1, 10_000);
const chunks = benchFigure("chunks", argv[3] ?? 500, 1, 1_000_000);
const rounds = benchFigure("rounds", argv[4] ?? 5, 1, 10_000);
console.log(`${machine()}, ${streams} streams of ${chunks} chunks of ${CHUNK_BYTES} bytes`);
const daemon = await PickerDaemon.start(ENGINES);
const session = connect(`http://127.0.0.1:${daemon.port}`, { maxSessionMemory: 200 });
await round(daemon, session, streams, chunks);
const each: number[] = [];
for (let i = 0; i < rounds; i++) {
  const few = await round(daemon, session, streams, FEW_CHUNKS);
  const many = await round(daemon, session, streams, chunks);
  each.push(((many - few) * 1000) / (streams * (chunks - FEW_CHUNKS)));
}
const sorted = [...each].sort((a, b) => a - b);
console.log(
  `${(sorted[sorted.length >> 1] ?? Number.NaN).toFixed(1)} µs of CPU of the thread for each chunk (${each.map((us) => us.toFixed(1)).join(" ")})`,
);
session.destroy();
await daemon.stop();
