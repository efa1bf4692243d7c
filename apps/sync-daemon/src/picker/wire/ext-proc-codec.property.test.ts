/**
 * C2 of ext-proc-codec.ts over damaged streams of whole requests, as a session takes them: frames, messages, answers. Bytes are
 * changed, removed or repeated, and lengths and tags are set where they hurt. Streams are cut at random. Each gives messages or a
 * fault by name, and nothing is thrown.
 *
 * `KVSYNC_EXT_PROC_INPUTS=1000000` reads a million damaged streams instead of a share of them.
 */
import { Prng } from "@kvsync/core";
import { expect, test } from "vitest";

import { Session, type SessionFault, type SessionPort } from "../session.ts";
import { BODY_MODES, decodeRequest, isFault } from "./ext-proc-codec.ts";
import { type FrameFaultCode, GrpcFrames } from "./grpc-frames.ts";
import { decodeHealthRequest } from "./health-codec.ts";
import type { ProtoFaultCode } from "./proto-fault.ts";
import { referenceEncode } from "./testing/reference-codec.ts";

const INPUTS = Number(process.env["KVSYNC_EXT_PROC_INPUTS"] ?? 20_000);
/** A test that takes longer stands in a loop. */
const TEST_MS = 60_000 + INPUTS * 2;
const SEED = 20_261_201;
const STREAMS = 500;
const MESSAGE_BYTES_MAX = 64 * 1024;
const BODY_BYTES_MAX = 64;
/** Tags and lengths that a parser trips over: groups, an unused wire type, field 0, a varint without an end. */
const TRAPS = [
  [0x0b],
  [0x0c],
  [0x0e],
  [0x00],
  Array.from({ length: 10 }, () => 0xff),
  Array.from({ length: 200 }, () => 0x0b),
];

const FAULTS: readonly (ProtoFaultCode | FrameFaultCode | SessionFault)[] = [
  ...(["truncated", "bad_varint", "bad_field_number", "bad_wire_type", "wrong_wire_type"] as const),
  ...(["unmatched_group", "too_deep", "compressed", "message_too_large", "cut_short"] as const),
  ...(["headers_twice", "body_before_headers", "message_without_part"] as const),
];

const random = new Prng(SEED);

function textOf(longest: number): string {
  return Array.from({ length: random.below(longest) }, () =>
    String.fromCharCode(32 + random.below(200)),
  ).join("");
}

/** The messages of one request, in one body mode. */
function requestMessages(): Uint8Array[] {
  const headers = [":path", "content-type", textOf(12), textOf(12)].map((key) => ({
    key,
    rawValue: Buffer.from(textOf(30)),
  }));
  const fields = { "x-gateway-destination-endpoint-subset": { stringValue: "10.0.0.1:8000, 10.0.0.2:8000" } };
  const served = { "x-gateway-destination-endpoint-served": { stringValue: "10.0.0.1:8000" } };
  const deep = { listValue: { values: [{ structValue: { fields: { a: { numberValue: 1 } } } }] } };
  const messages: Record<string, unknown>[] = [
    {
      requestHeaders: { headers: { headers }, endOfStream: random.below(8) === 0 },
      metadataContext: {
        filterMetadata: { "envoy.lb.subset_hint": { fields }, other: { fields: { deep } } },
      },
      protocolConfig: {
        requestBodyMode: random.below(BODY_MODES.length),
        responseBodyMode: random.below(BODY_MODES.length),
      },
    },
  ];
  for (let i = random.below(4); i > 0; i -= 1)
    messages.push({ requestBody: { body: Buffer.from(textOf(60)), endOfStream: i === 1 } });
  if (random.below(4) === 0) messages.push({ requestTrailers: { trailers: { headers } } });
  messages.push({
    responseHeaders: { headers: { headers } },
    metadataContext: { filterMetadata: { "envoy.lb": { fields: served } } },
    attributes: {
      "envoy.filters.http.ext_proc": { fields: { "upstream.address": { stringValue: "10.0.0.1:8000" } } },
    },
  });
  messages.push({ responseBody: { body: Buffer.from(textOf(60)), endOfStream: random.below(2) === 0 } });
  return messages.map((message) => referenceEncode("ProcessingRequest", message));
}

/** One to four changes. */
function damaged(message: Uint8Array): Buffer {
  let bytes = Buffer.from(message);
  for (let i = 1 + random.below(4); i > 0; i -= 1) {
    const at = random.below(bytes.length + 1);
    const [before, behind] = [bytes.subarray(0, at), bytes.subarray(at)];
    switch (random.below(6)) {
      case 0:
        if (at < bytes.length) bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
        break;
      case 1:
        bytes = Buffer.concat([before, behind.subarray(1 + random.below(4))]);
        break;
      case 2:
        bytes = Buffer.concat([before, bytes.subarray(at, at + random.below(40)), behind]);
        break;
      case 3:
        if (at < bytes.length) bytes[at] = random.below(256);
        break;
      case 4:
        bytes = Buffer.from(before);
        break;
      case 5:
        bytes = Buffer.concat([before, Buffer.from(random.pick(TRAPS)), behind]);
        break;
    }
  }
  return bytes;
}

/** A message behind its prefix, or behind a wrong one. */
function frameOf(message: Buffer): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  if (random.below(16) === 0) prefix[random.below(5)] = random.below(256);
  return Buffer.concat([prefix, message]);
}

/** A port that picks at once, or refuses, and keeps a count of what it was told. */
function portOf(
  session: () => Session,
): SessionPort & { fault: SessionFault | null; ends: number; held: number } {
  const port = {
    fault: null as SessionFault | null,
    ends: 0,
    held: 0,
    send: () => undefined,
    sendView: () => undefined,
    end: () => undefined,
    fail: (fault: SessionFault) => (port.fault = fault),
    ask: () => {
      const facts = { trust: "exact" };
      const answer = { destination: "10.0.0.1:8000", setHeaders: [], removeHeaders: [], facts };
      session().decide({ kind: "pick", answer, leaves: false });
    },
    hold: (bytes: number) => {
      port.held += bytes;
      return true;
    },
    served: () => undefined,
    firstToken: () => undefined,
    responseChunk: () => undefined,
    responseTail: () => undefined,
    over: () => (port.ends += 1),
  };
  return port;
}

/** Reads a stream in pieces, as the server does. Counts its messages, and the fault that ended it. */
function read(stream: Buffer, seen: Map<string, number>): void {
  const count = (what: string): void => void seen.set(what, (seen.get(what) ?? 0) + 1);
  const port = portOf(() => session);
  const session: Session = new Session(port, { bodyBytes: BODY_BYTES_MAX });
  const frames = new GrpcFrames(MESSAGE_BYTES_MAX, (bytes) => {
    if (session.isOver) return;
    const decoded = decodeRequest(bytes);
    if (!isFault(decoded)) {
      count("message");
      session.receive(decoded);
      return;
    }
    if (decoded.offset < 0 || decoded.offset > bytes.length)
      throw new Error(`${decoded.code} at ${decoded.offset}`);
    count(decoded.code);
    session.fail();
  });
  let at = 0;
  let fault: FrameFaultCode | null = null;
  while (at < stream.length && fault === null && !session.isOver) {
    const end = at + 1 + random.below(400);
    fault = frames.push(stream.subarray(at, end));
    at = end;
  }
  if (!session.isOver) fault ??= frames.end();
  if (fault !== null) count(fault);
  if (port.fault !== null) count(port.fault);
  session.close();
  // S5: whatever came, a session is over once, and holds nothing.
  if (port.ends !== 1 || port.held !== 0)
    throw new Error(`over ${port.ends} times, holds ${port.held} bytes`);
  const service = decodeHealthRequest(stream);
  count(typeof service === "string" ? "service" : `health: ${service.code}`);
}

test(
  `C2: ${INPUTS} damaged streams give messages and faults by name, and end their session once`,
  () => {
    const streams = Array.from({ length: STREAMS }, requestMessages);
    const seen = new Map<string, number>();
    for (let i = 0; i < INPUTS; i += 1) {
      const messages = random.pick(streams);
      const hit = random.below(messages.length);
      const frames = messages.map((message, k) =>
        frameOf(k === hit || random.below(8) === 0 ? damaged(message) : Buffer.from(message)),
      );
      if (random.below(8) === 0) frames.splice(random.below(frames.length), 0, random.pick(frames));
      read(Buffer.concat(frames), seen);
    }
    expect([...FAULTS].filter((fault) => !seen.has(fault))).toEqual([]);
    expect(seen.get("message")).toBeGreaterThan(INPUTS);
  },
  TEST_MS,
);
