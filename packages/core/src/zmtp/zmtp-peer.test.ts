/** Bytes to a peer and errors about a peer, example by example (zmtp-peer.ts, frame-reader.ts). */
import { describe, expect, test } from "vitest";

import { encodeCommand, encodeGreeting, encodeMessage, encodePing, encodeReady } from "./frame-writer.ts";
import { bytesOf, hexOf, record } from "./testing/peer-recording.ts";
import { within } from "./testing/time-limit.ts";
import {
  COMMAND_BYTES_MAX,
  messageMemoryBytesMax,
  PING_AFTER_TICKS,
  SILENT_AFTER_TICKS,
} from "./zmtp-limits.ts";

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const joined = (...pieces: readonly Uint8Array[]): Uint8Array =>
  Uint8Array.of(...pieces.flatMap((piece) => [...piece]));

function greeting(change: (bytes: Uint8Array) => void = () => undefined): Uint8Array {
  const bytes = encodeGreeting();
  change(bytes);
  return bytes;
}

function property(name: string, value: string): Uint8Array {
  return joined(Uint8Array.of(name.length), text(name), Uint8Array.of(0, 0, 0, value.length), text(value));
}

const READY = encodeCommand("READY", property("Socket-Type", "PUB"));
const OPEN = joined(greeting(), READY);
const PART = Uint8Array.of(1, 1, 0x61);

/** What came after the handshake. */
function after(...bytes: readonly Uint8Array[]) {
  const recording = record([OPEN, ...bytes]);
  const { peer, error } = recording;
  return { peer, error, happened: recording.happened.slice(1) };
}

describe("greetings", () => {
  test.each([
    ["an HTTP server", text("HTTP/1.1 400 Bad Request\r\n"), "not_zmtp", 0, '"HTTP/1.1 400 Bad Request'],
    ["bytes of another protocol", bytesOf("16030100"), "not_zmtp", 0, "bytes 16030100"],
    ["ff without ZMTP's signature", bytesOf("ff".repeat(12)), "not_zmtp", 9, "bytes ffff"],
    ["libzmq 2, which begins with a frame", bytesOf("0100"), "unsupported_version", 0, "ZMTP 1.0"],
    ["libzmq 2 with a long identity", bytesOf("ff000000000000010000"), "unsupported_version", 9, "ZMTP 1.0"],
    ["libzmq 3.2", bytesOf("ff00000000000000017f0102"), "unsupported_version", 10, "ZMTP 2.0"],
    ["a revision between", bytesOf("ff00000000000000017f02"), "unsupported_version", 10, "ZMTP revision 2"],
  ])("of %s is refused by name, at the byte that shows it", (_what, bytes, code, offset, actual) => {
    const { error } = record([bytes]);
    expect(error?.facts).toMatchObject({ code, offset });
    expect(error?.facts.actual).toContain(actual);
  });

  test.each(["PLAIN", "CURVE", "GSSAPI", "NULL2", "X".repeat(20)])(
    "with mechanism %s are refused by that name",
    (name) => {
      const { error } = record([
        greeting((bytes) => {
          bytes.set(text(name.padEnd(20, "\0")), 12);
        }),
      ]);
      expect(error?.facts).toMatchObject({ code: "mechanism_mismatch", actual: JSON.stringify(name) });
    },
  );

  test.each([
    ["3.0", 3, 0, 0],
    ["3.1", 3, 1, 1],
    ["3.7", 3, 7, 7],
    ["4.0, which speaks 3.1 to us", 4, 0, 1],
  ])("of ZMTP %s are taken, whatever the padding and as-server say", (_what, major, minor, peerMinor) => {
    const own = greeting((bytes) => {
      bytes.set([1, 2, 3, 4, 5, 6, 7, 8], 1);
      bytes.set([major, minor], 10);
      bytes[32] = 1;
    });
    const { happened, peer } = record([joined(own, READY)]);
    expect(happened).toEqual(["ready"]);
    expect(peer.peerMinor).toBe(peerMinor);
  });

  test("Z1: that do not come leave our side with eleven bytes sent, and the rest after a tick", () => {
    const waiting = record([Uint8Array.of(0xff)]);
    expect(waiting.sent).toBe("ff00000000000000017f03");
    waiting.peer.tick();
    waiting.peer.tick();
    expect(waiting.sent).toBe(hexOf(encodeGreeting()));
    waiting.peer.receive(greeting().subarray(1));
    expect(waiting.sent).toBe(hexOf(encodeGreeting()) + hexOf(encodeReady("SUB")));
  });
});

describe("the handshake", () => {
  test.each([
    ["a message (Z2)", encodeMessage([text("early")]), "unexpected_frame", "a message"],
    ["a command that is neither READY nor ERROR", encodePing(), "unexpected_frame", 'the command "PING"'],
    [
      "ERROR with a reason",
      encodeCommand("ERROR", joined(Uint8Array.of(3), text("400"))),
      "peer_refused",
      'ERROR "400"',
    ],
    ["ERROR without one", encodeCommand("ERROR", new Uint8Array()), "peer_refused", 'ERROR ""'],
    [
      "READY without a socket type",
      encodeCommand("READY", property("Identity", "x")),
      "socket_type_mismatch",
      "none",
    ],
    [
      "READY of a subscriber",
      encodeCommand("READY", property("Socket-Type", "SUB")),
      "socket_type_mismatch",
      '"SUB"',
    ],
    [
      "metadata that breaks off",
      encodeCommand("READY", property("Socket-Type", "PUB").subarray(0, -1)),
      "malformed_command",
      "a break at its byte 0",
    ],
    [
      "a name without a length of the value",
      encodeCommand("READY", bytesOf("0161")),
      "malformed_command",
      "a break at its byte 0",
    ],
    [
      "a property without a name",
      encodeCommand("READY", bytesOf("0000000000")),
      "malformed_command",
      "a break at its byte 0",
    ],
    [
      "a value of four gigabytes",
      encodeCommand("READY", bytesOf("0161ffffffff")),
      "malformed_command",
      "a break at its byte 0",
    ],
    [
      "a value of sixteen megabytes",
      encodeCommand("READY", bytesOf("016101000000")),
      "malformed_command",
      "a break at its byte 0",
    ],
    [
      "a name that is as long as the body",
      bytesOf("0405054e455753"),
      "malformed_command",
      "a body of 5 bytes",
    ],
    ["a command without a name", bytesOf("040100"), "malformed_command", "a body of 1 bytes"],
    ["a command with an empty body", bytesOf("0400"), "malformed_command", "a body of 0 bytes"],
    ["a name that reaches past the body", bytesOf("04020552"), "malformed_command", "a body of 2 bytes"],
  ])("with %s ends the connection by name", (_what, bytes, code, actual) => {
    const { error, happened } = record([joined(greeting(), bytes)]);
    expect(error?.facts).toMatchObject({ code, offset: 64, actual });
    expect(happened).toHaveLength(1);
  });

  test("takes its time: nobody is asked for a sign of life, or given up, before READY", () => {
    const waiting = record([greeting()]);
    for (let i = 0; i < 3 * SILENT_AFTER_TICKS; i += 1) waiting.peer.tick();
    expect(waiting.sent).toBe(hexOf(encodeGreeting()) + hexOf(encodeReady("SUB")));
  });

  test("takes metadata of any kind and order, and names in any case", () => {
    const metadata = joined(
      property("X-Region", "eu"),
      property("SOCKET-TYPE", "XPUB"),
      property("Identity", ""),
    );
    expect(record([joined(greeting(), encodeCommand("READY", metadata))]).happened).toEqual(["ready"]);
  });

  test("ends at metadata that is longer than a command may be, by its header", () => {
    const header = bytesOf(`06${(COMMAND_BYTES_MAX + 1).toString(16).padStart(16, "0")}`);
    const { error } = record([joined(greeting(), header)]);
    expect(error?.facts).toMatchObject({ code: "command_too_long", offset: 64, actual: "4097 bytes" });
  });

  test.each([
    ["DEALER", "ROUTER", true],
    ["DEALER", "REP", true],
    ["DEALER", "PUB", false],
    ["SUB", "ROUTER", false],
  ] as const)("of a %s with a %s: %s", (own, type, isFit) => {
    const { error } = record(
      [joined(greeting(), encodeCommand("READY", property("Socket-Type", type)))],
      own,
    );
    expect(error?.code ?? null).toBe(isFit ? null : "socket_type_mismatch");
  });
});

describe("frames", () => {
  test.each([
    ["a reserved bit", bytesOf("0800"), "malformed_frame", "flags 0x08"],
    ["all bits", bytesOf("ff"), "malformed_frame", "flags 0xff"],
    ["a command with MORE", bytesOf("0500"), "malformed_frame", "a command with MORE"],
    ["a part beyond the limit on bytes", bytesOf("02000000000000040161"), "message_too_long", "1025 bytes"],
    ["a size of 2^63", bytesOf("028000000000000000"), "message_too_long", "9223372036854776000 bytes"],
    ["a command beyond its limit", bytesOf("060000000000010000"), "command_too_long", "65536 bytes"],
  ])("with %s end the connection by name, at the header", (_what, bytes, code, actual) => {
    const { error } = after(bytes);
    expect(error?.facts).toMatchObject({ code, offset: OPEN.byteLength, actual });
  });

  test("of a message may be as many as the limit, and not one more", () => {
    const parts = (count: number) =>
      joined(...Array.from({ length: count - 1 }, () => PART), Uint8Array.of(0, 1, 0x62));
    expect(after(parts(8)).happened).toEqual([`${"61|".repeat(7)}62`]);
    const { error, happened } = after(parts(9));
    expect(error?.facts).toMatchObject({ code: "too_many_parts", expected: "a message of at most 8 parts" });
    expect(happened).toHaveLength(1);
  });

  test("R3: of a message may have as many bytes as the limit, all parts together, and not one more", () => {
    const half = (more: number, bytes: number) =>
      joined(bytesOf(`0${2 + more}${bytes.toString(16).padStart(16, "0")}`), new Uint8Array(bytes));
    expect(after(half(1, 512), half(0, 512)).happened).toEqual([`${"00".repeat(512)}|${"00".repeat(512)}`]);
    expect(after(half(1, 512), half(0, 513)).error?.facts).toMatchObject({
      code: "message_too_long",
      actual: "1025 bytes",
    });
  });

  test("in pieces are named by the byte where they began", () => {
    const { error } = after(bytesOf("0200"), bytesOf("000000"), bytesOf("00000401"));
    expect(error?.facts).toMatchObject({ code: "message_too_long", offset: OPEN.byteLength });
  });

  test("of one message count for no other", () => {
    const message = encodeMessage([new Uint8Array(600), text("a")]);
    expect(after(message, joined(message, message)).happened).toHaveLength(3);
  });

  test("are written with the short size up to 255 bytes", () => {
    expect(hexOf(encodeMessage([new Uint8Array(255)]).subarray(0, 3))).toBe("00ff00");
    expect(hexOf(encodeMessage([new Uint8Array(256)]).subarray(0, 10))).toBe("02000000000000010000");
  });

  test("with the long size for a short body are read like any other", () => {
    expect(after(bytesOf("02000000000000000161")).happened).toEqual(["61"]);
  });

  test("Z5: of commands stand between a message's parts without a trace, whole chunks or single bytes", () => {
    const ping = encodeCommand("PING", bytesOf("0000"));
    const unknown = encodeCommand("NEWS", text("of a later version"));
    const bytes = joined(
      PART,
      ping,
      PART,
      unknown,
      ping,
      Uint8Array.of(0, 1, 0x62),
      PART,
      Uint8Array.of(0, 0),
    );
    const expected = ["pong 040504504f4e47", "pong 040504504f4e47", "61|61|62", "61|"];
    expect(after(bytes).happened).toEqual(expected);
    expect(after(...Array.from(bytes, (byte) => Uint8Array.of(byte))).happened).toEqual(expected);
  });
});

describe("memory", () => {
  test("R2: follows the bytes that came, not the size that was announced", () => {
    const limits = { messageBytes: 2 ** 30, messageParts: 8 };
    const { peer } = record(
      [joined(OPEN, bytesOf("020000000040000000"), new Uint8Array(1000))],
      "SUB",
      limits,
    );
    expect(peer.heldCapacity).toBeLessThan(2048 + 64);
    peer.receive(new Uint8Array(100_000));
    expect(peer.heldCapacity).toBeLessThan(210_000);
  });

  test("R2: is at most twice the limit for a message without end, whatever its parts", () => {
    const limits = { messageBytes: 100_000, messageParts: 1000 };
    for (const bytes of [0, 1, 255, 4096]) {
      const { peer } = record([OPEN], "SUB", limits);
      const part = joined(bytesOf(`03${bytes.toString(16).padStart(16, "0")}`), new Uint8Array(bytes));
      let most = 0;
      expect(() => {
        within(10_000, () => {
          for (;;) {
            peer.receive(part);
            most = Math.max(most, peer.heldCapacity);
          }
        });
      }).toThrow(/too_many_parts|message_too_long/);
      expect(most).toBeLessThanOrEqual(2 * (100_000 + 9 * 1000));
    }
  });

  test("R2: of the longest message, with the longest command before its end, is what the limits say at most", () => {
    const limits = { messageBytes: 100_000, messageParts: 4 };
    const long = (flags: number, size: number) => bytesOf(`0${flags}${size.toString(16).padStart(16, "0")}`);
    const command = joined(
      long(6, COMMAND_BYTES_MAX),
      Uint8Array.of(1),
      new Uint8Array(COMMAND_BYTES_MAX - 1),
    );
    const part = joined(long(3, 25_000), new Uint8Array(25_000));
    const { peer } = record([OPEN, part, part, part, command.subarray(0, -1)], "SUB", limits);
    peer.receive(command.subarray(-1));
    peer.receive(joined(long(2, 25_000), new Uint8Array(24_999)));
    expect(peer.heldCapacity).toBeGreaterThan(100_000);
    expect(peer.heldCapacity).toBeLessThanOrEqual(messageMemoryBytesMax(limits));
  });

  test("is given up with an error that names the budget and what is held", () => {
    const { peer } = record([joined(OPEN, bytesOf("020000000000000300"), new Uint8Array(300))]);
    expect(() => peer.giveUp(256)).toThrow(
      /^buffers_full at byte \d+ of the connection: expected incomplete messages of all connections in 256 bytes, got more, 309 bytes of them here$/,
    );
  });

  test("R4: a short message in pieces is given as much as it is long", () => {
    const { peer } = after(encodeMessage([text("a".repeat(100))]).subarray(0, 50));
    expect(peer.heldCapacity).toBe(102);
  });

  test("R4: a message keeps no bytes of a command that came before its end", () => {
    const bytes = joined(PART, encodeCommand("NEWS", new Uint8Array(400)), Uint8Array.of(0, 1, 0x62));
    const { messages } = record([OPEN, bytes.subarray(0, 300), bytes.subarray(300)]);
    expect(messages.map(([part]) => part.buffer.byteLength)).toEqual([6]);
  });

  test("R4: a message that came in pieces is given away with its own bytes and no others; every other one is lent", () => {
    const message = encodeMessage([text("a"), text("bcd")]);
    const bytes = joined(OPEN, ...Array.from({ length: 10 }, () => message));
    for (let cut = OPEN.byteLength; cut <= bytes.byteLength; cut += 1) {
      const { messages, lent } = record([bytes.subarray(0, cut), bytes.subarray(cut)]);
      const whole = (cut - OPEN.byteLength) / message.byteLength;
      expect(lent).toEqual(
        Array.from({ length: 10 }, (_, i) => Number.isInteger(whole) || i !== Math.floor(whole)),
      );
      const given = messages.filter((_, i) => !lent[i]);
      expect(given.map(([, part]) => part.buffer.byteLength)).toEqual(given.map(() => message.byteLength));
    }
  });
});

describe("heartbeats", () => {
  test("Z3: a PING's context of up to 16 bytes comes back; a longer one ends the connection", () => {
    expect(after(encodeCommand("PING", bytesOf(`0000${"ab".repeat(16)}`))).happened).toEqual([
      `pong 041504504f4e47${"ab".repeat(16)}`,
    ]);
    expect(after(encodeCommand("PING", bytesOf(`0000${"ab".repeat(17)}`))).error?.code).toBe(
      "malformed_command",
    );
    expect(after(encodeCommand("PING", bytesOf("00"))).error?.code).toBe("malformed_command");
  });

  test("Z3: silence beyond a PING's time to live ends the connection, traffic in time does not", () => {
    const { peer } = after(encodeCommand("PING", bytesOf("0014")));
    for (let i = 0; i < 3; i += 1) peer.tick();
    peer.receive(encodeMessage([text("x")]));
    for (let i = 0; i < 10; i += 1) peer.tick();
    peer.receive(encodeCommand("PING", bytesOf("0014")));
    for (let i = 0; i < 3; i += 1) peer.tick();
    expect(() => {
      peer.tick();
    }).toThrow(/peer_silent.*time to live of the peer's own PING, got nothing for 4 s/);
  });

  test("Z3: a time to live has two bytes: 25.6 seconds end before an answer is due", () => {
    const { peer } = after(encodeCommand("PING", bytesOf("0100")));
    for (let i = 0; i < 27; i += 1) peer.tick();
    expect(() => {
      peer.tick();
    }).toThrow(/time to live of the peer's own PING, got nothing for 28 s/);
  });

  test("Z4: a quiet peer of ZMTP 3.1 is asked once, lives while it answers, and is dead when it does not", () => {
    const recording = record([OPEN]);
    const { peer } = recording;
    for (let round = 0; round < 3; round += 1) {
      for (let i = 0; i < SILENT_AFTER_TICKS - 1; i += 1) peer.tick();
      peer.receive(encodeCommand("PONG", new Uint8Array()));
    }
    for (let i = 0; i < SILENT_AFTER_TICKS - 1; i += 1) peer.tick();
    expect(() => {
      peer.tick();
    }).toThrow(/peer_silent.*expected an answer to PING/);
    expect(recording.sent.split(hexOf(encodePing()))).toHaveLength(1 + 4);
    expect(PING_AFTER_TICKS).toBeLessThan(SILENT_AFTER_TICKS);
  });

  test("Z4: a peer of ZMTP 3.0 is neither asked nor given up", () => {
    const old = record([
      joined(
        greeting((bytes) => (bytes[11] = 0)),
        READY,
      ),
    ]);
    for (let i = 0; i < 10 * SILENT_AFTER_TICKS; i += 1) old.peer.tick();
    expect(old.sent).not.toContain(hexOf(encodePing()));
  });
});
