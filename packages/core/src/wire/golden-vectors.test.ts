/**
 * The golden vectors in both directions: the decoder reads engines' bytes as the engines mean them,
 * and our encoder writes the same bytes.
 */
import { describe, expect, test } from "vitest";
import { EventBatchDecoder } from "./event-batch-decoder.ts";
import { encodeEventBatch } from "./event-batch-encoder.ts";
import { encodeReplayEnd, encodeReplayRequest, parseLiveFrames, parseReplayFrames } from "./message.ts";
import { normalizeEvent } from "./plain-event.ts";
import { RecordingSink } from "./recording-sink.ts";
import { fromHex, GOLDEN_VECTORS, toHexText } from "./vectors/golden-vectors.ts";

const scratch = { tokens: new Uint32Array(64), hashes: new Uint32Array(64) };

describe.each(GOLDEN_VECTORS)("$id, $says", ({ hex, batch, dialect }) => {
  test("is read as the engine means it", () => {
    const sink = new RecordingSink(scratch);
    const header = new EventBatchDecoder(scratch).decode(fromHex(hex), sink);
    expect(sink.faults).toEqual([]);
    expect(sink.events).toEqual(batch.events.map(normalizeEvent));
    expect(header.timestampSeconds).toBe(batch.timestampSeconds);
    expect(header.dataParallelRank).toBe(batch.dataParallelRank ?? null);
    expect(header.eventCount).toBe(batch.events.length);
  });

  test(`is what the encoder writes as ${dialect}`, () => {
    expect(toHexText(encodeEventBatch(batch, dialect))).toBe(hex);
  });
});

test("F1: the frames of the captured message carry sequence number 234", () => {
  const payload = fromHex(GOLDEN_VECTORS.find(({ id }) => id === "R2")?.hex ?? "");
  const topic = new TextEncoder().encode("kv-events");
  const message = parseLiveFrames([topic, fromHex("00000000000000ea"), payload]);
  expect(message).toEqual({ topic, sequenceNumber: 234, payload });
});

test("F1: a replay request from 10 is an empty frame and eight bytes", () => {
  expect(encodeReplayRequest(10).map(toHexText)).toEqual(["", "000000000000000a"]);
});

test("F2: a replay ends with all ones, without and with a topic frame", () => {
  const old = [fromHex(""), fromHex("ffffffffffffffff"), fromHex("")];
  const recent = [fromHex(""), fromHex(""), fromHex("ffffffffffffffff"), fromHex("")];
  expect(parseReplayFrames(old)).toEqual({ kind: "end" });
  expect(parseReplayFrames(recent)).toEqual({ kind: "end" });
  const identity = fromHex("0080a1b2c3");
  expect(encodeReplayEnd(identity, "plain")).toEqual([identity, ...old]);
  expect(encodeReplayEnd(identity, "topic")).toEqual([identity, ...recent]);
});
