import fc from "fast-check";
import { describe, expect, it } from "vitest";

import {
  CHUNK_BYTES_MAX,
  type Decision,
  type PickQuestion,
  Session,
  type SessionEnd,
  type SessionPort,
} from "./session.ts";
import {
  type BodyMode,
  type BodyModes,
  decodeRequest,
  isFault,
  REQUEST_KINDS,
  type RequestKind,
} from "./wire/ext-proc-codec.ts";
import { PREFIX_BYTES } from "./wire/grpc-frames.ts";
import { referenceDecode, referenceEncode } from "./wire/testing/reference-codec.ts";

const PICK: Decision = {
  kind: "pick",
  answer: { destination: "10.0.0.1:8000", setHeaders: [], removeHeaders: [], facts: {} },
  leaves: false,
};
const LEAVING: Decision = { ...PICK, leaves: true };
const REFUSAL: Decision = {
  kind: "immediate",
  answer: { status: 503, headers: [], body: "{}", details: "kvsync_no_endpoint" },
};

/** An answer as the gateway reads it. */
interface Answer {
  readonly kind: RequestKind | "immediate";
  readonly hasPick: boolean;
  /** In full duplex. */
  readonly chunk: Buffer | null;
  readonly endsBody: boolean;
}

function readAnswer(frame: Buffer): Answer {
  const answer = referenceDecode("ProcessingResponse", frame.subarray(PREFIX_BYTES));
  if ("immediateResponse" in answer)
    return { kind: "immediate", hasPick: false, chunk: null, endsBody: false };
  const camel = (name: string): string =>
    name.replaceAll(/_(.)/g, (_, letter: string) => letter.toUpperCase());
  const kind = REQUEST_KINDS.find((one) => camel(one) in answer);
  if (kind === undefined) expect.unreachable();
  const content = answer[camel(kind)] as {
    response?: { bodyMutation?: { streamedResponse?: { body?: string; endOfStream?: boolean } } };
  };
  const streamed = content.response?.bodyMutation?.streamedResponse;
  return {
    kind,
    hasPick: "dynamicMetadata" in answer,
    chunk: streamed === undefined ? null : Buffer.from(streamed.body ?? "", "base64"),
    endsBody: streamed?.endOfStream === true,
  };
}

/** A gateway's side of one stream, with the books that a picker keeps. */
class Gateway {
  readonly answers: Answer[] = [];
  readonly questions: PickQuestion[] = [];
  readonly ends: SessionEnd[] = [];
  readonly served: (string | null)[] = [];
  fault: string | null = null;
  firstTokens = 0;
  tail = "";
  heldBytes = 0;
  isEnded = false;
  room = Number.POSITIVE_INFINITY;
  readonly session: Session;

  constructor(bodyBytes = 1_000_000) {
    const port: SessionPort = {
      send: (frame) => {
        expect(this.isEnded, "nothing is sent after the end").toBe(false);
        this.answers.push(readAnswer(frame));
      },
      sendView: (head, view) => {
        port.send(Buffer.concat([head, view]));
      },
      end: () => {
        this.isEnded = true;
      },
      fail: (fault) => {
        this.fault = fault;
        this.isEnded = true;
      },
      ask: (question) => {
        this.questions.push({ ...question, body: [...question.body] });
      },
      hold: (bytes) => {
        if (bytes > 0 && this.heldBytes + bytes > this.room) return false;
        this.heldBytes += bytes;
        return true;
      },
      served: (endpoint) => {
        this.served.push(endpoint);
      },
      firstToken: () => {
        this.firstTokens += 1;
      },
      responseChunk: () => undefined,
      responseTail: (tail) => {
        this.tail = tail.toString();
      },
      over: (end) => {
        this.ends.push(end);
      },
    };
    this.session = new Session(port, { bodyBytes });
  }

  send(value: Record<string, unknown>): void {
    const decoded = decodeRequest(referenceEncode("ProcessingRequest", value));
    if (isFault(decoded)) expect.unreachable();
    this.session.receive(decoded);
  }

  headers(modes: Partial<BodyModes>, endOfStream = false): void {
    const numberOf = (mode: BodyMode): number =>
      ["none", "streamed", "buffered", "buffered_partial", "full_duplex"].indexOf(mode);
    this.send({
      requestHeaders: { endOfStream },
      protocolConfig: {
        requestBodyMode: numberOf(modes.request ?? "none"),
        responseBodyMode: numberOf(modes.response ?? "none"),
        sendBodyWithoutWaitingForHeaderResponse: modes.sendsWithoutWaiting ?? false,
      },
    });
  }

  body(text: string | Buffer, endOfStream = false): void {
    this.send({ requestBody: { body: Buffer.from(text as string), endOfStream } });
  }

  /** Kinds of the answers so far. */
  get kinds(): string[] {
    return this.answers.map(({ kind }) => kind);
  }

  /** The body that was sent back. */
  back(kind: RequestKind): Buffer {
    return Buffer.concat(
      this.answers.filter((answer) => answer.kind === kind).map(({ chunk }) => chunk ?? Buffer.alloc(0)),
    );
  }
}

describe("a session in full duplex", () => {
  it("asks at the end of the body, and answers the headers before it sends the body back", () => {
    const gateway = new Gateway();
    gateway.headers({ request: "full_duplex" });
    gateway.body("hello ");
    expect([gateway.answers, gateway.questions]).toEqual([[], []]);
    gateway.body("world", true);
    expect(Buffer.concat(gateway.questions[0]?.body ?? []).toString()).toBe("hello world");
    gateway.session.decide(PICK);
    expect(gateway.kinds).toEqual(["request_headers", "request_body", "request_body"]);
    expect(gateway.answers[0]?.hasPick).toBe(true);
    expect(gateway.back("request_body").toString()).toBe("hello world");
    expect(gateway.answers.at(-1)?.endsBody).toBe(true);
    expect(gateway.heldBytes).toBe(0);
  });

  it("asks at the trailers when these end the request, and answers them last", () => {
    const gateway = new Gateway();
    gateway.headers({ request: "full_duplex" });
    gateway.body("text");
    gateway.send({ requestTrailers: {} });
    gateway.session.decide(PICK);
    expect(gateway.kinds).toEqual(["request_headers", "request_body", "request_trailers"]);
    expect(gateway.answers[1]?.endsBody).toBe(false);
  });

  it("cuts a body that came in one message into chunks that gateways take", () => {
    const gateway = new Gateway();
    gateway.headers({ request: "full_duplex" });
    gateway.body(Buffer.alloc(2 * CHUNK_BYTES_MAX + 1, 7), true);
    gateway.session.decide(PICK);
    const chunks = gateway.answers.slice(1);
    expect(chunks.map(({ chunk, endsBody }) => [chunk?.length, endsBody])).toEqual([
      [CHUNK_BYTES_MAX, false],
      [CHUNK_BYTES_MAX, false],
      [1, true],
    ]);
  });

  it.each([
    ["body_large", 5, Number.POSITIVE_INFINITY],
    ["buffer_full", 1000, 5],
  ] as const)("decides at once for %s, and lets the rest flow through", (gap, bodyBytes, room) => {
    const gateway = new Gateway(bodyBytes);
    gateway.room = room;
    gateway.headers({ request: "full_duplex" });
    gateway.body("123");
    gateway.body("45678");
    expect(gateway.questions.map((question) => question.gap)).toEqual([gap]);
    gateway.session.decide(PICK);
    gateway.body("rest", true);
    expect(gateway.back("request_body").toString()).toBe("12345678rest");
    expect(gateway.answers.at(-1)?.endsBody).toBe(true);
    expect(gateway.heldBytes).toBe(0);
  });
});

describe("a session in the other modes", () => {
  it.each(["buffered", "buffered_partial"] as const)(
    "answers the headers at once in %s, and picks at the body",
    (request) => {
      const gateway = new Gateway();
      gateway.headers({ request });
      expect(gateway.answers).toMatchObject([{ kind: "request_headers", hasPick: false }]);
      gateway.body("{}", true);
      gateway.session.decide(PICK);
      expect(gateway.answers.slice(1)).toMatchObject([{ kind: "request_body", hasPick: true }]);
    },
  );

  it("tells the pick with the trailers when a buffered request has no body", () => {
    const gateway = new Gateway();
    gateway.headers({ request: "buffered" });
    gateway.send({ requestTrailers: {} });
    gateway.session.decide(PICK);
    expect(gateway.answers.slice(1)).toMatchObject([{ kind: "request_trailers", hasPick: true }]);
  });

  it("picks at the headers in streamed mode, and leaves the chunks as they are", () => {
    const gateway = new Gateway();
    gateway.headers({ request: "streamed" });
    expect(gateway.questions[0]?.gap).toBe("not_sent");
    gateway.session.decide(PICK);
    gateway.body("a");
    gateway.body("b", true);
    expect(gateway.answers).toMatchObject([
      { kind: "request_headers", hasPick: true },
      { kind: "request_body", chunk: null },
      { kind: "request_body", chunk: null },
    ]);
  });

  it("reads the body in streamed mode when the gateway sends it without waiting", () => {
    const gateway = new Gateway();
    gateway.headers({ request: "streamed", sendsWithoutWaiting: true });
    gateway.body("a");
    gateway.body("b", true);
    expect(Buffer.concat(gateway.questions[0]?.body ?? []).toString()).toBe("ab");
    gateway.session.decide(PICK);
    expect(gateway.kinds).toEqual(["request_headers", "request_body", "request_body"]);
  });

  it.each([
    ["no mode", {}, false, "not_sent"],
    ["headers that end the request", { request: "full_duplex" }, true, "no_body"],
  ] as const)("picks at the headers with %s", (_what, modes, endOfStream, gap) => {
    const gateway = new Gateway();
    gateway.headers(modes, endOfStream);
    expect(gateway.questions[0]?.gap).toBe(gap);
    gateway.session.decide(PICK);
    expect(gateway.answers).toMatchObject([{ kind: "request_headers", hasPick: true }]);
  });
});

describe("the response", () => {
  it("tells who served, the first token and the end, and S4: our side ends with the last message", () => {
    const gateway = new Gateway();
    gateway.headers({ response: "full_duplex" }, true);
    gateway.session.decide(PICK);
    const served = { stringValue: "10.0.0.2:8000" };
    gateway.send({
      responseHeaders: {},
      metadataContext: {
        filterMetadata: { "envoy.lb": { fields: { "x-gateway-destination-endpoint-served": served } } },
      },
    });
    expect(gateway.served).toEqual(["10.0.0.2:8000"]);
    gateway.send({ responseBody: { body: Buffer.from("data: 1") } });
    gateway.send({ responseBody: { body: Buffer.from("data: 2"), endOfStream: true } });
    expect([gateway.firstTokens, gateway.tail, gateway.isEnded, gateway.ends]).toEqual([
      1,
      "data: 1data: 2",
      true,
      ["complete"],
    ]);
    expect(gateway.back("response_body").toString()).toBe("data: 1data: 2");
  });

  it.each([
    ["503", [null]],
    ["502", [null]],
    ["504", [null]],
    ["500", []],
    ["200", []],
  ])("of status %s that names nobody tells who served: %j", (status, served) => {
    const gateway = new Gateway();
    gateway.headers({ response: "none" }, true);
    gateway.session.decide(PICK);
    const headers = { headers: [{ key: ":status", rawValue: Buffer.from(status) }] };
    gateway.send({ responseHeaders: { headers, endOfStream: true } });
    expect(gateway.served).toEqual(served);
  });

  it("ends with the stream when its body is not sent", () => {
    const gateway = new Gateway();
    gateway.headers({}, true);
    gateway.session.decide(PICK);
    gateway.send({ responseHeaders: {} });
    expect(gateway.isEnded).toBe(false);
    gateway.session.close();
    expect(gateway.ends).toEqual(["complete"]);
  });

  it("ends with its trailers where these come", () => {
    const gateway = new Gateway();
    gateway.headers({ response: "full_duplex" }, true);
    gateway.session.decide(PICK);
    gateway.send({ responseHeaders: {} });
    gateway.send({ responseBody: { body: Buffer.from("text") } });
    expect(gateway.ends).toEqual([]);
    gateway.send({ responseTrailers: {} });
    expect([gateway.kinds.at(-1), gateway.isEnded, gateway.ends]).toEqual([
      "response_trailers",
      true,
      ["complete"],
    ]);
  });

  it("S3: is followed to its end when it begins before the request has ended, although the stream was to be left", () => {
    const gateway = new Gateway(4);
    gateway.headers({ request: "full_duplex", response: "full_duplex" });
    gateway.body("longer than the limit");
    gateway.session.decide(LEAVING);
    gateway.send({ responseHeaders: {} });
    gateway.body("the rest", true);
    expect([gateway.isEnded, gateway.ends]).toEqual([false, []]);
    gateway.send({ responseBody: { body: Buffer.from("answer"), endOfStream: true } });
    expect(gateway.ends).toEqual(["complete"]);
  });

  it("passes unchanged when the gateway answered before the pick, and no pick is told", () => {
    const gateway = new Gateway();
    gateway.headers({ request: "full_duplex", response: "full_duplex" });
    gateway.body("text", true);
    gateway.send({ responseHeaders: {} });
    expect(gateway.session.decide(PICK)).toBe(false);
    gateway.send({ responseBody: { body: Buffer.from("local"), endOfStream: true } });
    expect(gateway.kinds).toEqual(["response_headers", "response_body"]);
    expect([gateway.back("response_body").toString(), gateway.heldBytes]).toEqual(["local", 0]);
  });
});

describe("a request that was never shown, since the gateway refused it for its headers", () => {
  it.each(["none", "full_duplex"] as const)("has its response passed, with bodies in mode %s", (response) => {
    const gateway = new Gateway();
    const ends = response === "none";
    gateway.send({
      responseHeaders: { endOfStream: ends },
      protocolConfig: { requestBodyMode: 4, responseBodyMode: ends ? 0 : 4 },
    });
    if (!ends) gateway.send({ responseBody: { body: Buffer.from("431"), endOfStream: true } });
    expect(gateway.kinds).toEqual(["response_headers", "response_body"].slice(0, ends ? 1 : 2));
    expect([gateway.fault, gateway.questions, gateway.ends]).toEqual([null, [], ["complete"]]);
    if (!ends) expect(gateway.back("response_body").toString()).toBe("431");
  });
});

describe("a session that goes wrong", () => {
  it.each([
    ["headers_twice", [{ requestHeaders: {} }, { requestHeaders: {} }]],
    ["body_before_headers", [{ requestBody: {} }]],
    ["body_before_headers", [{ requestTrailers: {} }]],
    ["message_without_part", [{}]],
  ])("ends by name: %s", (fault, messages) => {
    const gateway = new Gateway();
    for (const message of messages) gateway.send(message);
    expect([gateway.fault, gateway.ends]).toEqual([fault, ["failed"]]);
  });
});

const modeOf = fc.constantFrom<BodyMode>("none", "streamed", "buffered", "buffered_partial", "full_duplex");
const requestOf = fc.record({
  request: modeOf,
  response: modeOf,
  early: fc.boolean(),
  chunks: fc.array(fc.string({ maxLength: 12 }), { maxLength: 6 }),
  responseChunks: fc.array(fc.string({ maxLength: 12 }), { maxLength: 6 }),
  trailers: fc.boolean(),
  decision: fc.constantFrom(PICK, LEAVING, REFUSAL),
  /** Messages after which the decision comes, counted from the question. */
  decideAfter: fc.nat(3),
  bodyBytes: fc.constantFrom(4, 1000),
  room: fc.constantFrom(6, 1000),
  cutAt: fc.option(fc.nat(20)),
  end: fc.constantFrom("close", "drain" as const),
});
type Drawn = typeof requestOf extends fc.Arbitrary<infer T> ? T : never;

/** The messages of one request as Envoy sends them in these modes. */
function script({ request, response, chunks, responseChunks, trailers }: Drawn): Record<string, unknown>[] {
  const messages: Record<string, unknown>[] = [];
  const isWhole = request === "buffered" || request === "buffered_partial";
  const hasBody = chunks.length > 0 && request !== "none";
  const sent = isWhole ? [chunks.join("")] : chunks;
  if (hasBody)
    sent.forEach((chunk, i) =>
      messages.push({
        requestBody: { body: Buffer.from(chunk), endOfStream: i === sent.length - 1 && !trailers },
      }),
    );
  if (trailers && (hasBody || request === "none")) messages.push({ requestTrailers: {} });
  messages.push({ responseHeaders: { endOfStream: responseChunks.length === 0 } });
  if (response !== "none")
    responseChunks.forEach((chunk, i) =>
      messages.push({
        responseBody: { body: Buffer.from(chunk), endOfStream: i === responseChunks.length - 1 },
      }),
    );
  return messages;
}

/** Runs it; a question is answered as late as drawn, and at once when nothing else can come before. */
function run(drawn: Drawn): Gateway {
  const gateway = new Gateway(drawn.bodyBytes);
  gateway.room = drawn.room;
  const hasBody = drawn.chunks.length > 0;
  let waited = 0;
  let decided = false;
  const decideIfDue = (isForced: boolean): void => {
    if (decided || gateway.questions.length === 0) return;
    if (!isForced && waited++ < drawn.decideAfter) return;
    decided = true;
    gateway.session.decide(drawn.decision);
  };
  const bodyless = !hasBody && !(drawn.trailers && drawn.request === "none");
  gateway.headers(
    { request: drawn.request, response: drawn.response, sendsWithoutWaiting: drawn.early },
    bodyless,
  );
  for (const [i, message] of script(drawn).entries()) {
    if (drawn.cutAt === i) {
      if (!gateway.session.isOver) gateway.session[drawn.end]();
      return gateway;
    }
    const isResponse = "responseHeaders" in message || "responseBody" in message;
    decideIfDue(isResponse);
    if (gateway.isEnded) return gateway;
    gateway.send(message);
  }
  if (!gateway.session.isOver) gateway.session.close();
  return gateway;
}

describe("every request, in every mode, cut anywhere", () => {
  const runs = { numRuns: 3000 };

  it("S1: every byte goes back once, in order, and nothing stays held", () => {
    fc.assert(
      fc.property(requestOf, (drawn) => {
        const gateway = run({
          ...drawn,
          cutAt: null,
          decision: drawn.decision === REFUSAL ? PICK : drawn.decision,
        });
        const whole = drawn.request === "full_duplex" ? drawn.chunks.join("") : "";
        expect(gateway.back("request_body").toString()).toBe(whole);
        if (drawn.response === "full_duplex" && gateway.ends[0] === "complete")
          expect(gateway.back("response_body").toString()).toBe(drawn.responseChunks.join(""));
        expect(gateway.heldBytes).toBe(0);
      }),
      runs,
    );
  });

  it("S2: tells at most one of a pick and an immediate answer, and one of both when it was not cut", () => {
    fc.assert(
      fc.property(requestOf, (drawn) => {
        const gateway = run(drawn);
        const told = gateway.answers.filter(({ hasPick, kind }) => hasPick || kind === "immediate");
        expect(told.length).toBeLessThanOrEqual(1);
        if (drawn.cutAt === null) expect(told).toHaveLength(1);
      }),
      runs,
    );
  });

  it("S3: ends our side right after the pick, or after the last message, and at no other time", () => {
    fc.assert(
      fc.property(requestOf, (drawn) => {
        const gateway = run({ ...drawn, cutAt: null });
        const [end] = gateway.ends;
        if (!gateway.isEnded) return;
        const last = gateway.answers.at(-1);
        const sawResponse = gateway.kinds.some((kind) => kind.startsWith("response"));
        if (end === "left") expect(sawResponse).toBe(false);
        else if (end === "immediate") expect(last?.kind).toBe("immediate");
        else expect([end, sawResponse]).toEqual(["complete", true]);
      }),
      runs,
    );
  });

  it("S5: is over once, whichever way it ends, and says nothing afterwards", () => {
    fc.assert(
      fc.property(requestOf, (drawn) => {
        const gateway = run(drawn);
        expect(gateway.ends).toHaveLength(1);
        const answers = gateway.answers.length;
        gateway.session.close();
        gateway.session.drain();
        gateway.session.fail();
        gateway.send({ responseHeaders: {} });
        expect(gateway.session.decide(PICK)).toBe(false);
        expect([gateway.ends.length, gateway.answers.length, gateway.heldBytes]).toEqual([1, answers, 0]);
      }),
      runs,
    );
  });

  it("S6: no order of well-formed requests makes a session fail or answer by itself", () => {
    fc.assert(
      fc.property(requestOf, (drawn) => {
        const gateway = run({ ...drawn, decision: PICK });
        expect([gateway.fault, gateway.kinds.includes("immediate")]).toEqual([null, false]);
      }),
      runs,
    );
  });
});
