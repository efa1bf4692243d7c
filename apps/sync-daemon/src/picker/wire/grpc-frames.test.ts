import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { framed } from "./ext-proc-codec.ts";
import { type FrameFaultCode, GrpcFrames } from "./grpc-frames.ts";

const LIMIT = 300;

interface Outcome {
  readonly messages: readonly string[];
  readonly fault: FrameFaultCode | null;
}

/** Pushes `bytes` in chunks that end at the given places. */
function split(bytes: Buffer, cuts: readonly number[]): Outcome {
  const messages: string[] = [];
  const frames = new GrpcFrames(LIMIT, (message) => messages.push(Buffer.from(message).toString("hex")));
  const ends = [...cuts, bytes.length].map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b);
  let begin = 0;
  for (const end of ends) {
    frames.push(bytes.subarray(begin, end));
    begin = end;
  }
  return { messages, fault: frames.end() };
}

const messages = fc.array(fc.uint8Array({ maxLength: LIMIT + 20 }), { maxLength: 6 });
const cuts = fc.array(fc.nat(2000), { maxLength: 12 });

describe("frames of a gRPC stream", () => {
  it("G1: gives the same messages and fault however the bytes are cut", () => {
    fc.assert(
      fc.property(messages, fc.nat(12), cuts, (sent, missing, at) => {
        const all = Buffer.concat(sent.map((message) => framed(Buffer.from(message))));
        const bytes = all.subarray(0, Math.max(0, all.length - missing));
        expect(split(bytes, at)).toEqual(split(bytes, []));
      }),
    );
  });

  it("gives each message that was framed, empty ones too", () => {
    const sent = [Buffer.alloc(0), Buffer.from("one"), Buffer.alloc(LIMIT, 7)];
    const { messages: got, fault } = split(Buffer.concat(sent.map(framed)), [3]);
    expect([got, fault]).toEqual([sent.map((message) => message.toString("hex")), null]);
  });

  it("G2: ends the stream at a prefix whose length is beyond the limit, before any byte of the message", () => {
    const frames = new GrpcFrames(LIMIT, () => expect.unreachable());
    expect(frames.push(framed(Buffer.alloc(LIMIT + 1)).subarray(0, 5))).toBe("message_too_large");
    expect(frames.push(framed(Buffer.from("more")))).toBe("message_too_large");
  });

  it("refuses a message that is compressed", () => {
    const bytes = framed(Buffer.from("x"));
    bytes[0] = 1;
    expect(split(bytes, [])).toEqual({ messages: [], fault: "compressed" });
  });

  it("G3: keeps the bytes that came, whatever length was announced", () => {
    const frames = new GrpcFrames(2 ** 31, () => expect.unreachable());
    const before = process.memoryUsage().arrayBuffers;
    const prefix = Buffer.of(0, 0x7f, 0xff, 0xff, 0xff);
    expect(frames.push(prefix)).toBeNull();
    expect(frames.push(Buffer.alloc(10))).toBeNull();
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 ** 20);
    expect(frames.end()).toBe("cut_short");
  });
});
