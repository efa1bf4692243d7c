/** Answers of HTTP servers, well and badly written, cut anywhere. */
import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";

import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { type AnswerFault, HEAD_BYTES_MAX, HttpAnswer } from "./http-answer.ts";

const BYTES_MAX = 10_000;
const OK = "HTTP/1.1 200 OK\r\n";

/** What comes of the bytes of a connection that ends after them. */
function outcomeOf(bytes: Buffer, cuts: readonly number[] = []): string | { fault: AnswerFault } {
  const answer = new HttpAnswer(Buffer.alloc(16), BYTES_MAX);
  const ends = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  let begin = 0;
  for (const end of ends) {
    // What was read is another read's afterwards.
    const piece = Buffer.from(bytes.subarray(begin, end));
    const progress = answer.push(piece);
    piece.fill(0);
    begin = end;
    if (progress === "whole")
      return `${answer.isKept ? "kept" : "closed"}: ${answer.body.toString("latin1")}`;
    if (progress !== "more") return { fault: progress };
  }
  const end = answer.end();
  return end === "whole" ? `ended: ${answer.body.toString("latin1")}` : { fault: end };
}

const read = (text: string): string | { fault: AnswerFault } => outcomeOf(Buffer.from(text, "latin1"));

describe("an answer", () => {
  it.each([
    ["of a known length", `${OK}Content-Length: 5\r\n\r\nhello`, "kept: hello"],
    ["without a body", `${OK}content-length: 0\r\n\r\n`, "kept: "],
    ["that ends its connection", `${OK}connection: Close\r\ncontent-length: 1\r\n\r\nx`, "closed: x"],
    ["of HTTP/1.0", "HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nx", "closed: x"],
    ["up to the connection's end", `${OK}\r\nall of it`, "ended: all of it"],
    ["with more than was announced", `${OK}content-length: 1\r\n\r\nxHTTP/1.1 200 OK`, "closed: x"],
    [
      "in chunks",
      `${OK}transfer-encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=1\r\n0123456789\r\n0\r\n\r\n`,
      "kept: abc0123456789",
    ],
    [
      "in chunks, with trailers",
      `${OK}Transfer-Encoding: Chunked\r\n\r\n1\r\nx\r\n0\r\na: b\r\nc: d\r\n\r\n`,
      "kept: x",
    ],
    [
      "after one that is not the last",
      `HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n${OK}content-length: 2\r\n\r\nok`,
      "kept: ok",
    ],
    ["without a reason", "HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok", "kept: ok"],
  ])("%s is read", (_what, text, expected) => {
    expect(read(text)).toBe(expected);
  });

  it.each<[string, string, AnswerFault]>([
    ["nothing", "", "not_http"],
    ["no HTTP", "SSH-2.0-OpenSSH_9.6\r\n", "not_http"],
    ["half a head", "HTTP/1.1 200 OK\r\nconte", "not_http"],
    ["no status", "HTTP/1.1 OK\r\n\r\n", "not_http"],
    ["a length that is none", `${OK}content-length: -1\r\n\r\n`, "not_http"],
    ["two lengths", `${OK}content-length: 1\r\ncontent-length: 2\r\n\r\nxx`, "not_http"],
    ["another status", "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n", "status"],
    ["a length beyond the bound", `${OK}content-length: ${BYTES_MAX + 1}\r\n\r\n`, "too_large"],
    [
      "chunks beyond the bound",
      `${OK}transfer-encoding: chunked\r\n\r\nFFFF\r\n${"x".repeat(BYTES_MAX + 1)}`,
      "too_large",
    ],
    ["a body beyond the bound", `${OK}\r\n${"x".repeat(BYTES_MAX + 1)}`, "too_large"],
    ["half a body", `${OK}content-length: 5\r\n\r\nhell`, "cut"],
    ["a chunk's size that is none", `${OK}transfer-encoding: chunked\r\n\r\nzz\r\n`, "cut"],
    ["a chunk longer than its size", `${OK}transfer-encoding: chunked\r\n\r\n1\r\nxyz\r\n0\r\n\r\n`, "cut"],
    ["a size without end", `${OK}transfer-encoding: chunked\r\n\r\n${"1".repeat(1000)}`, "cut"],
    ["an encoding that was not asked for", `${OK}transfer-encoding: gzip, chunked\r\n\r\n`, "cut"],
    ["T3: a head without end", `${OK}${"a: b\r\n".repeat(HEAD_BYTES_MAX / 4)}`, "not_http"],
    [
      "T3: trailers without end",
      `${OK}transfer-encoding: chunked\r\n\r\n0\r\n${"a".repeat(HEAD_BYTES_MAX)}`,
      "cut",
    ],
  ])("with %s is a fault", (_what, text, fault) => {
    expect(read(text)).toEqual({ fault });
  });
});

describe("any answer", () => {
  const body = fc.string({ unit: "binary-ascii", maxLength: 300 });
  const cuts = fc.array(fc.nat(2000), { maxLength: 12 });

  it("T1: is the same however it is cut", () => {
    const framed = fc.oneof(
      body.map((text) => `${OK}content-length: ${text.length}\r\n\r\n${text}`),
      fc
        .array(fc.string({ unit: "binary-ascii", minLength: 1, maxLength: 40 }), { maxLength: 8 })
        .map(
          (chunks) =>
            `${OK}transfer-encoding: chunked\r\n\r\n` +
            chunks.map((text) => `${text.length.toString(16)}\r\n${text}\r\n`).join("") +
            "0\r\n\r\n",
        ),
      body.map((text) => `${OK}x: y\r\n\r\n${text}`),
      body.map((text) => `${OK}content-length: ${text.length + 1}\r\n\r\n${text}`),
    );
    fc.assert(
      fc.property(framed, cuts, (text, places) => {
        const bytes = Buffer.from(text, "latin1");
        expect(outcomeOf(bytes, places)).toEqual(outcomeOf(bytes));
      }),
      { numRuns: 2000 },
    );
  });

  it("T2, T3: of foreign bytes is a body, a fault, or waits for more, within its bounds", () => {
    const piece = fc.oneof(
      fc.constantFrom(
        "HTTP/1.1 ",
        "200",
        " OK",
        "\r\n",
        "\r\n\r\n",
        "content-length: ",
        "transfer-encoding: chunked",
        "0",
        "5",
        "ffffffff",
        ":",
        ";",
        "\n",
      ),
      fc.uint8Array({ maxLength: 12 }).map((bytes) => Buffer.from(bytes).toString("latin1")),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), cuts, fc.boolean(), (pieces, places, begins) => {
        const bytes = Buffer.from((begins ? OK : "") + pieces.join(""), "latin1");
        const outcome = outcomeOf(bytes, places);
        if (typeof outcome === "string") expect(outcome.length).toBeLessThanOrEqual(BYTES_MAX + 20);
        else expect(["not_http", "status", "too_large", "cut"]).toContain(outcome.fault);
      }),
      { numRuns: 5000 },
    );
  });

  it("of node:http is read: with a length, in chunks, and without either", async () => {
    const text = "a 1\n".repeat(500);
    const server = createServer((request, response) => {
      if (request.url === "/length") response.setHeader("content-length", text.length);
      if (request.url === "/end") response.useChunkedEncodingByDefault = false;
      response.write(text.slice(0, 100));
      response.end(text.slice(100));
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    try {
      for (const [path, how] of [
        ["/length", "kept"],
        ["/chunks", "kept"],
        ["/end", "closed"],
      ]) {
        const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
        const chunks: Buffer[] = [];
        socket.on("data", (chunk: Buffer) => chunks.push(chunk));
        socket.write(`GET ${path ?? ""} HTTP/1.1\r\nhost: x\r\n\r\n`);
        await expect
          .poll(() => outcomeOf(Buffer.concat(chunks)), { timeout: 60_000 })
          .toBe(how === "kept" ? `kept: ${text}` : `ended: ${text}`);
        socket.destroy();
      }
    } finally {
      server.close();
    }
  });
});
