import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AssertionError } from "../assert.ts";
import {
  encodeLiveFrames,
  encodeReplayEnd,
  encodeReplayReply,
  encodeReplayRequest,
  parseLiveFrames,
  parseReplayFrames,
  parseReplayRequest,
  type ReplayShape,
  topicText,
} from "./message.ts";
import { fromHex, toHexText } from "./vectors/golden-vectors.ts";
import { WireError } from "./wire-error.ts";

const payload = Uint8Array.of(0x92, 0, 0x90);
const identity = fromHex("00f1e2d3c4");
const empty = new Uint8Array(0);
const topic = new TextEncoder().encode("kv@10.0.0.7@org/model");
const sequenceNumber = fc.oneof(fc.nat(1000), fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }));
const shape = fc.constantFrom<ReplayShape>("plain", "topic");

function faultOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (!(error instanceof WireError) || !("frameIndex" in error.facts)) throw error;
    return `${error.code} in ${error.facts.frameIndex}`;
  }
  return "none";
}

describe("live messages", () => {
  test("what is published is what is received, for every sequence number", () => {
    fc.assert(
      fc.property(sequenceNumber, fc.string({ unit: "grapheme" }), (number, text) => {
        const message = parseLiveFrames(encodeLiveFrames(text, number, payload));
        expect(message.sequenceNumber).toBe(number);
        expect(message.payload).toBe(payload);
        expect(topicText(message.topic)).toBe(text);
      }),
    );
  });

  test("the sequence number is eight bytes, big-endian", () => {
    expect(toHexText(encodeLiveFrames("", 0x1_0203_0405_0607, payload)[1])).toBe("0001020304050607");
  });

  test("a topic that is no UTF-8 is still a topic", () => {
    const message = parseLiveFrames([Uint8Array.of(0x6b, 0xff), fromHex("0000000000000001"), payload]);
    expect(topicText(message.topic)).toBe("k\ufffd");
  });

  test("messages of one, two and four frames are refused", () => {
    const sequence = fromHex("0000000000000001");
    for (const frames of [[], [payload], [topic, payload], [topic, sequence, payload, payload]]) {
      expect(faultOf(() => parseLiveFrames(frames))).toBe("wrong_frame_count in 0");
    }
  });

  test("a sequence number of another length than eight bytes is refused", () => {
    for (const hex of ["", "01", "00000000000001", "000000000000000001"]) {
      expect(faultOf(() => parseLiveFrames([topic, fromHex(hex), payload]))).toBe(
        "wrong_sequence_length in 1",
      );
    }
  });

  test("a sequence number past 2⁵³ − 1 is refused, the end mark of replays too", () => {
    const last = parseLiveFrames([topic, fromHex("001fffffffffffff"), payload]);
    expect(last.sequenceNumber).toBe(Number.MAX_SAFE_INTEGER);
    for (const hex of ["0020000000000000", "8000000000000000", "ffffffffffffffff"]) {
      const frames = [topic, fromHex(hex), payload];
      expect(faultOf(() => parseLiveFrames(frames))).toBe("sequence_number_out_of_range in 1");
    }
  });

  test("a message without a payload is refused", () => {
    const frames = [topic, fromHex("0000000000000001"), empty];
    expect(faultOf(() => parseLiveFrames(frames))).toBe("empty_payload in 2");
  });

  test("publishing a number that is none breaks an assertion", () => {
    for (const number of [-1, 0.5, 2 ** 53, Number.NaN]) {
      expect(() => encodeLiveFrames("", number, payload)).toThrow(AssertionError);
    }
  });
});

describe("replay", () => {
  test("a request says at the ROUTER what it said at the DEALER", () => {
    fc.assert(
      fc.property(sequenceNumber, (start) => {
        const atRouter = [identity, ...encodeReplayRequest(start)];
        expect(parseReplayRequest(atRouter)).toEqual({ identity, startSequenceNumber: start });
      }),
    );
  });

  test("a start may be shorter than eight bytes, and one beyond all numbers lies in the future", () => {
    const startOf = (hex: string): number =>
      parseReplayRequest([identity, empty, fromHex(hex)]).startSequenceNumber;
    expect(startOf("")).toBe(0);
    expect(startOf("0a")).toBe(10);
    expect(startOf("0102")).toBe(258);
    expect(startOf("ffffffffffffffff")).toBe(Number.MAX_SAFE_INTEGER);
  });

  test("a request without delimiter, or with a start too long, is refused", () => {
    const start = fromHex("000000000000000a");
    expect(faultOf(() => parseReplayRequest([identity, start]))).toBe("wrong_frame_count in 0");
    expect(faultOf(() => parseReplayRequest([identity, start, start]))).toBe("missing_delimiter in 1");
    const long = fromHex("000000000000000001");
    expect(faultOf(() => parseReplayRequest([identity, empty, long]))).toBe("wrong_sequence_length in 2");
  });

  test("a reply of either shape is read alike, at a DEALER and at a REQ", () => {
    fc.assert(
      fc.property(shape, sequenceNumber, fc.constantFrom("", "kv-events"), (form, number, text) => {
        const reply = { identity, shape: form, topic: text, sequenceNumber: number, payload };
        const atDealer = encodeReplayReply(reply).slice(1);
        const atReq = atDealer.slice(1);
        const expected = { kind: "message", sequenceNumber: number, payload };
        expect(parseReplayFrames(atDealer)).toEqual(expected);
        expect(parseReplayFrames(atReq)).toEqual(expected);
      }),
    );
  });

  test("the end is read in either shape, at a DEALER and at a REQ", () => {
    for (const form of ["plain", "topic"] as const) {
      const atDealer = encodeReplayEnd(identity, form).slice(1);
      expect(parseReplayFrames(atDealer)).toEqual({ kind: "end" });
      expect(parseReplayFrames(atDealer.slice(1))).toEqual({ kind: "end" });
    }
  });

  test("replies and ends have the engines' frames", () => {
    const reply = { identity, topic: "t", sequenceNumber: 10, payload };
    const hex = (frames: readonly Uint8Array[]): string[] => frames.map(toHexText);
    const number = "000000000000000a";
    expect(hex(encodeReplayReply({ ...reply, shape: "plain" }))).toEqual([
      "00f1e2d3c4",
      "",
      number,
      "920090",
    ]);
    expect(hex(encodeReplayReply({ ...reply, shape: "topic" }))).toEqual([
      "00f1e2d3c4",
      "",
      "74",
      number,
      "920090",
    ]);
    expect(hex(encodeReplayEnd(identity, "plain"))).toEqual(["00f1e2d3c4", "", "ffffffffffffffff", ""]);
    expect(hex(encodeReplayEnd(identity, "topic"))).toEqual(["00f1e2d3c4", "", "", "ffffffffffffffff", ""]);
  });

  test("an end needs both its marks", () => {
    const ones = fromHex("ffffffffffffffff");
    expect(faultOf(() => parseReplayFrames([empty, ones, payload]))).toBe(
      "sequence_number_out_of_range in 1",
    );
    const number = fromHex("0000000000000001");
    expect(faultOf(() => parseReplayFrames([empty, number, empty]))).toBe("empty_payload in 2");
  });

  test("replies of other shapes are refused", () => {
    const number = fromHex("0000000000000001");
    expect(faultOf(() => parseReplayFrames([payload]))).toBe("wrong_frame_count in 0");
    expect(faultOf(() => parseReplayFrames([empty, empty, topic, number, payload]))).toBe(
      "wrong_frame_count in 0",
    );
    expect(faultOf(() => parseReplayFrames([topic, topic, number, payload]))).toBe("missing_delimiter in 0");
    expect(faultOf(() => parseReplayFrames([empty, topic, payload]))).toBe("wrong_sequence_length in 1");
  });
});
