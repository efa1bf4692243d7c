/** The bytes of libzmq in both directions: read as it means them, and written as it would write them. */
import { describe, expect, test } from "vitest";

import { encodeReplayRequest } from "../wire/message.ts";
import { encodeCommand, encodeGreeting, encodeMessage } from "./frame-writer.ts";
import { bytesOf, hexOf, record } from "./testing/peer-recording.ts";
import {
  LIBZMQ_CURVE_GREETING,
  LIBZMQ_OWN_SIDE,
  LIBZMQ_PEER_SIDE,
  LIBZMQ_PONG,
  LIBZMQ_PULL,
} from "./vectors/libzmq-vectors.ts";

/** A peer of this minor version that has said READY. */
function peerBytes(minor: number, type: string): Uint8Array {
  const greeting = encodeGreeting();
  greeting[11] = minor;
  const property = bytesOf(
    `0b${hexOf(new TextEncoder().encode("Socket-Type"))}000000${type.length.toString(16).padStart(2, "0")}`,
  );
  const ready = encodeCommand("READY", Uint8Array.of(...property, ...new TextEncoder().encode(type)));
  return Uint8Array.of(...greeting, ...ready);
}

describe.each(Object.values(LIBZMQ_OWN_SIDE))("$says", ({ peerMinor, topic, hex }) => {
  test("our side writes the same bytes", () => {
    const type = topic === null ? "DEALER" : "SUB";
    const counterpart = topic === null ? "ROUTER" : "PUB";
    const { sent, happened } = record([peerBytes(peerMinor, counterpart)], type, undefined, topic);
    const request = topic === null ? hexOf(encodeMessage(encodeReplayRequest(10))) : "";
    expect(happened).toEqual(["ready"]);
    expect(sent + request).toBe(hex);
  });
});

describe.each(Object.values(LIBZMQ_PEER_SIDE))("$says", ({ type, hex, messages }) => {
  test("its messages are read as they are meant, byte by byte too", () => {
    const expected = messages.map((parts) => parts.join("|"));
    const whole = record([bytesOf(hex)], type);
    const single = record(
      Array.from(bytesOf(hex), (byte) => Uint8Array.of(byte)),
      type,
    );
    for (const { happened, error } of [whole, single]) {
      expect(error).toBeNull();
      expect(happened.filter((line) => line !== "ready" && !line.startsWith("pong"))).toEqual(expected);
    }
  });
});

test("our PONG to a PING is libzmq's", () => {
  const ping = encodeCommand("PING", bytesOf("0000c0ffee"));
  const { happened } = record([peerBytes(1, "PUB"), ping]);
  expect(happened).toEqual(["ready", `pong ${LIBZMQ_PONG}`]);
});

test("a libzmq socket of a type that cannot publish is refused by its name", () => {
  const { error } = record([bytesOf(LIBZMQ_PULL)]);
  expect(error?.facts).toMatchObject({
    code: "socket_type_mismatch",
    expected: "a peer of type PUB or XPUB",
    actual: '"PULL"',
  });
});

test("libzmq with CURVE is refused by the mechanism's name, before it has seen ours", () => {
  const { error, sent } = record([bytesOf(LIBZMQ_CURVE_GREETING)]);
  expect(error?.facts).toMatchObject({ code: "mechanism_mismatch", offset: 12, actual: '"CURVE"' });
  expect(sent).toBe("ff00000000000000017f03");
});
