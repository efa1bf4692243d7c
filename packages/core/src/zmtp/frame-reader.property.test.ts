/**
 * R1 to R4 of frame-reader.ts over all inputs. Bytes are cut and changed at random. The reader must return the same as the
 * naive one, end with an error of its own or with none, and keep to its memory.
 *
 * `KVSYNC_ZMTP_INPUTS=1000000` reads a million mutated connections instead of a share of them.
 */
import { expect, test } from "vitest";

import { Prng } from "../prng.ts";
import { encodeCommand, encodeGreeting, encodeMessage, encodePing } from "./frame-writer.ts";
import { naiveReading } from "./testing/naive-reader.ts";
import { bytesOf, recordUnbounded as record, type Recording } from "./testing/peer-recording.ts";
import { within } from "./testing/time-limit.ts";
import { LIBZMQ_PEER_SIDE } from "./vectors/libzmq-vectors.ts";

const INPUTS = Number(process.env["KVSYNC_ZMTP_INPUTS"] ?? 20_000);
/** A test that takes longer stands in a loop. */
const TEST_MS = 60_000;
const LONGEST_MS = 60_000 + INPUTS * 2;
const SEED = 20_261_129;
const LIMITS = { messageBytes: 1024, messageParts: 8 };
const GREETING_BYTES = 64;
/** Headers of the parts, and the smallest buffer. */
const MEMORY_MAX = 2 * (LIMITS.messageBytes + 9 * LIMITS.messageParts) + 256;

const READY = bytesOf("04190552454144590b536f636b65742d5479706500000003505542");

/** What happened, the error by its code. */
function outcome({ happened, error }: Recording): readonly string[] {
  return error === null ? happened : [...happened.slice(0, -1), error.code];
}

/** A connection as an engine has it, with heartbeats and commands of the future between. */
function connection(random: Prng): number[] {
  const bytes = [...encodeGreeting(), ...READY];
  for (let i = random.below(6); i > 0; i -= 1) {
    const kind = random.below(8);
    if (kind === 0) bytes.push(...encodePing());
    else if (kind === 1) bytes.push(...encodeCommand("NEWS", body(random)));
    else {
      const message = [...encodeMessage(Array.from({ length: 1 + random.below(5) }, () => body(random)))];
      bytes.push(...message);
    }
  }
  return bytes;
}

function body(random: Prng): Uint8Array {
  const length = random.below(8) === 0 ? random.below(400) : random.below(12);
  return Uint8Array.from({ length }, () => random.below(256));
}

/** One to four changes: bytes that are other ones, gone, there twice, new, or sizes and flags where they hurt. */
function mutate(bytes: number[], random: Prng): void {
  for (let i = 1 + random.below(4); i > 0; i -= 1) {
    // Most of them behind the greeting, which few changes survive.
    const from = random.below(4) === 0 ? 0 : Math.min(GREETING_BYTES, bytes.length);
    const at = from + random.below(Math.max(1, bytes.length - from));
    switch (random.below(8)) {
      case 0:
        bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
        break;
      case 1:
        bytes.splice(at, 1 + random.below(4));
        break;
      case 2:
        bytes.splice(at, 0, ...bytes.slice(at, at + random.below(40)));
        break;
      case 3:
        bytes.splice(at, 0, random.below(256));
        break;
      case 4:
        bytes.length = at;
        break;
      case 5:
        bytes.splice(at, 0, 2 + random.below(2), 0, 0, 0, 0, 0, 0, random.below(6), random.below(256));
        break;
      case 6:
        bytes.splice(at, 0, ...Array.from({ length: random.below(24) }, (_, k) => (k % 2 === 0 ? 1 : 0)));
        break;
      case 7:
        bytes.splice(at, 0, ...encodePing());
        break;
    }
  }
}

/** The bytes in chunks: whole, single bytes, or of random lengths. */
function cut(bytes: Uint8Array, random: Prng): Uint8Array[] {
  const longest = random.pick([1, 3, 20, 200]);
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < bytes.byteLength; ) {
    const end = at + 1 + random.below(longest);
    chunks.push(bytes.subarray(at, end));
    at = end;
  }
  return chunks;
}

test("R1: every cut in two, and every cut in three of the shorter ones, brings the same", () => {
  within(TEST_MS, () => {
    const random = new Prng(SEED);
    for (let round = 0; round < 12; round += 1) {
      const bytes = Uint8Array.from(connection(random)).subarray(0, 700);
      const whole = outcome(record([bytes], "SUB", LIMITS));
      expect(whole).toEqual(naiveReading([...bytes], LIMITS));
      for (let first = 0; first <= bytes.byteLength; first += 1) {
        expect(outcome(record([bytes.subarray(0, first), bytes.subarray(first)], "SUB", LIMITS))).toEqual(
          whole,
        );
        if (bytes.byteLength > 200) continue;
        for (let second = first; second <= bytes.byteLength; second += 1) {
          const three = [bytes.subarray(0, first), bytes.subarray(first, second), bytes.subarray(second)];
          expect(outcome(record(three, "SUB", LIMITS))).toEqual(whole);
        }
      }
    }
  });
});

test("R1: libzmq's own bytes bring the same in every cut", () => {
  within(TEST_MS, () => {
    for (const { hex, type } of Object.values(LIBZMQ_PEER_SIDE)) {
      const bytes = bytesOf(hex);
      const whole = outcome(record([bytes], type, LIMITS));
      for (let at = 0; at <= bytes.byteLength; at += 1)
        expect(outcome(record([bytes.subarray(0, at), bytes.subarray(at)], type, LIMITS))).toEqual(whole);
    }
  });
});

test(
  `${INPUTS} mutated connections bring the same as the naive reader, whole and in pieces, within their memory (R1 to R3)`,
  () => {
    within(LONGEST_MS, () => {
      const random = new Prng(SEED);
      const seen = new Map<string, number>();
      for (let i = 0; i < INPUTS; i += 1) {
        const input = connection(random);
        mutate(input, random);
        const bytes = Uint8Array.from(input);
        const expected = naiveReading(input, LIMITS);
        const whole = record([bytes], "SUB", LIMITS);
        const pieces = record(cut(bytes, random), "SUB", LIMITS);
        if (!same(outcome(whole), expected) || !same(outcome(pieces), expected)) {
          // The input is the report: it makes an example.
          expect({
            i,
            hex: Buffer.from(bytes).toString("hex"),
            whole: outcome(whole),
            pieces: outcome(pieces),
          }).toEqual({
            whole: expected,
            pieces: expected,
          });
        }
        if (whole.error?.facts.offset !== pieces.error?.facts.offset)
          expect([i, pieces.error?.facts.offset]).toEqual([i, whole.error?.facts.offset]);
        if (pieces.peer.heldCapacity > MEMORY_MAX) expect(pieces.peer.heldCapacity).toBeLessThan(MEMORY_MAX);
        const end = whole.error?.code ?? "no error";
        seen.set(end, (seen.get(end) ?? 0) + 1);
      }
      // A test that reaches no error says nothing of it.
      for (const code of [
        "no error",
        "not_zmtp",
        "unsupported_version",
        "mechanism_mismatch",
        "unexpected_frame",
        "malformed_frame",
        "malformed_command",
        "command_too_long",
        "message_too_long",
        "too_many_parts",
      ])
        expect([code, (seen.get(code) ?? 0) > 0]).toEqual([code, true]);
    });
  },
  LONGEST_MS,
);

function same(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((line, i) => line === other[i]);
}
