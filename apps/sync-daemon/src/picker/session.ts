/**
 * One stream of the gateway: one HTTP request, from its headers to the end of its response. No sockets, no clock.
 *
 *     reading ── the body is there, or will not be read ─▶ deciding ── decided ─▶ following ── last message ─▶ over
 *        │                                                    │                        │
 *        └─ limits ─▶ deciding (by load)                      └─ immediate ─▶ over     └─ left, closed ─▶ over
 *
 *     request mode        headers answered           pick made at                pick told in
 *     full_duplex         held back                  end of body or trailers     the answer to the headers, then the body
 *     streamed, early     held back                  end of body or trailers     the answer to the headers, then each chunk
 *     buffered(_partial)  at once, unchanged         the body                    the answer to the body
 *     streamed            with the pick by load      headers                     the answer to the headers
 *     none, no body       with the pick by load      headers                     the answer to the headers
 *
 *  S1  Every byte received in full duplex is sent back once, in order; nothing is held back after the pick
 *      (session.test.ts "S1").
 *  S2  A session answers with exactly one of: a pick, an immediate answer, nothing because it was over before
 *      (session.test.ts "S2").
 *  S3  We end a stream right after the pick, or after the last message, never in between: the gateway loses
 *      data then (session.test.ts "S3").
 *  S4  After the last message our side ends at once (session.test.ts "S4").
 *  S5  A pick is booked once and its booking ends once, on every way out (session.test.ts "S5").
 *  S6  No request is refused, except by the decision's own answer (session.test.ts "S6").
 *
 * A response that comes before the pick is the gateway's own; it passes unchanged, also as the first message of its stream.
 * Other messages out of order end the stream by name.
 *
 * Not here: the meaning of a body (request-reading.ts), the choice (pick.ts), gRPC (picker-server.ts).
 * Source: the endpoint picker protocol of the Gateway API Inference Extension; Envoy's ext_proc.
 */
import { assert } from "@kvsync/core";

import {
  type BodyModes,
  encodeChunkHead,
  encodeContinue,
  encodeImmediate,
  encodePick,
  type ImmediateAnswer,
  type PickAnswer,
  type ProcessingRequest,
  type RequestKind,
} from "./wire/ext-proc-codec.ts";

/** Longest chunk that is sent back: gateways take up to 64 KiB, with the message around it. */
export const CHUNK_BYTES_MAX = 62_000;
/** Bytes of the response's end that are kept, to read its usage from. */
const RESPONSE_TAIL_BYTES = 4096;

const NO_BODIES: BodyModes = { request: "none", response: "none", sendsWithoutWaiting: false };

/** Why a body was not read to its end, or not at all. */
export type BodyGap = "none" | "no_body" | "not_sent" | "body_large" | "buffer_full";

/** What a pick is made for. */
export interface PickQuestion {
  readonly headers: ReadonlyMap<string, string>;
  /** Names of the headers that came to steer a picker or an engine; absent: none did. */
  readonly steering?: readonly string[];
  /** The whole body; what came of it when there is a gap. */
  readonly body: readonly Uint8Array[];
  readonly bodyBytes: number;
  readonly gap: BodyGap;
  /** Endpoints that the gateway allows; null when it does not say. */
  readonly subset: readonly string[] | null;
}

/** What was decided. `left` means that the stream ends right after the pick. */
export type Decision =
  | { readonly kind: "pick"; readonly answer: PickAnswer; readonly leaves: boolean }
  | { readonly kind: "immediate"; readonly answer: ImmediateAnswer };

/** How a session ended. */
export type SessionEnd = "complete" | "client" | "left" | "drained" | "failed" | "immediate";

/** Faults of a gateway: messages that do not fit where they came. */
export type SessionFault = "headers_twice" | "body_before_headers" | "message_without_part";

/** Where a session acts. Calls come during `receive`, `decide`, `close` and `drain` only. */
export interface SessionPort {
  /** Sends a framed message. It is the port's from then on. */
  send(frame: Buffer): void;
  /** Sends a framed message in two parts: its head, and bytes that came from the gateway. */
  sendView(head: Buffer, view: Uint8Array): void;
  /** Ends our side of the stream without an error. */
  end(): void;
  /** Ends the stream with an error. */
  fail(fault: SessionFault): void;
  /** Asks for a decision: `decide` is to be called once, during the call or later. */
  ask(question: PickQuestion): void;
  /** Books bytes of bodies that are held; false when there is no room for them. A negative count gives room back. */
  hold(bytes: number): boolean;
  /** The pick's booking moves to the endpoint that served; null: the gateway answered, and no endpoint did. */
  served(endpoint: string | null): void;
  /** The first byte of the response's body is there. */
  firstToken(): void;
  /** A chunk of the response was sent back, or followed. */
  responseChunk(): void;
  /** The last bytes of the response's body, at its end. */
  responseTail(tail: Buffer): void;
  /** The session is over; a booking ends with it. */
  over(end: SessionEnd): void;
}

/** Bounds of one session. */
export interface SessionLimits {
  /** Longest body that is read before the pick. */
  readonly bodyBytes: number;
}

type State = "fresh" | "reading" | "deciding" | "following" | "over";

/** See the header. */
export class Session {
  readonly #port: SessionPort;
  readonly #limits: SessionLimits;
  #state: State = "fresh";
  #modes: BodyModes = NO_BODIES;
  #headers: ReadonlyMap<string, string> = new Map();
  #steering: readonly string[] = [];
  #subset: readonly string[] | null = null;
  /** Chunks received and not sent back or answered yet. */
  #chunks: Uint8Array[] = [];
  #heldBytes = 0;
  #bodyBytes = 0;
  /** The request's end was received, as a chunk. */
  #bodyEnded = false;
  /** What the pick will be told in. */
  #pending: RequestKind = "request_headers";
  /** Answers that are due after the pick's: trailers of the request. */
  #trailersDue = false;
  #leaves = false;
  #sawResponse = false;
  #sawFirstToken = false;
  #tail: Buffer = Buffer.alloc(0);

  constructor(port: SessionPort, limits: SessionLimits) {
    this.#port = port;
    this.#limits = limits;
  }

  /** False once it is over; nothing is to be called any more then. */
  get isOver(): boolean {
    return this.#state === "over";
  }

  /** Whether `decide` would be told: a decision was asked for, and neither came nor became needless. */
  get isWaiting(): boolean {
    return this.#state === "deciding";
  }

  /** Takes the next message of the gateway. Its bytes must not change afterwards. */
  receive(message: ProcessingRequest): void {
    if (this.#state === "over") return;
    switch (message.kind) {
      case "request_headers":
        this.#requestHeaders(message);
        break;
      case "request_body":
        this.#requestBody(message);
        break;
      case "request_trailers":
        this.#requestTrailers();
        break;
      case "response_headers":
      case "response_body":
      case "response_trailers":
        this.#response(message.kind, message);
        break;
      case null:
        this.#failBy("message_without_part");
        break;
    }
  }

  /**
   * Takes the decision that was asked for.
   *
   * @returns whether it was told. It is not when the session is over, or a response came first; nothing is booked then.
   */
  decide(decision: Decision): boolean {
    if (this.#state !== "deciding") return false;
    if (decision.kind === "immediate") {
      this.#port.send(encodeImmediate(decision.answer));
      this.#port.end();
      this.#finish("immediate");
      return true;
    }
    this.#state = "following";
    this.#leaves = decision.leaves;
    this.#port.send(encodePick(this.#pending, decision.answer));
    if (this.#pending === "request_headers") this.#answerChunks();
    this.#forgetChunks();
    if (this.#trailersDue) {
      this.#trailersDue = false;
      this.#port.send(encodeContinue("request_trailers"));
    }
    this.#leaveIfDue();
    return true;
  }

  /** The stream was closed or reset from the other side. */
  close(): void {
    if (this.#state === "over") return;
    this.#finish(this.#state === "following" && this.#isComplete() ? "complete" : "client");
  }

  /** The picker ends: the stream is given up where it stands. */
  drain(): void {
    if (this.#state !== "over") this.#finish("drained");
  }

  /** The stream ended with an error outside the session: in its frames, or in the decision. */
  fail(): void {
    if (this.#state !== "over") this.#finish("failed");
  }

  #requestHeaders(message: ProcessingRequest): void {
    if (this.#state !== "fresh") {
      this.#failBy("headers_twice");
      return;
    }
    this.#state = "reading";
    this.#modes = message.modes ?? NO_BODIES;
    this.#headers = message.headers;
    this.#steering = message.steering;
    this.#subset = message.subset;
    const { request, sendsWithoutWaiting } = this.#modes;
    if (message.endOfStream) {
      this.#bodyEnded = true;
      this.#ask("no_body");
    } else if (request === "none" || (request === "streamed" && !sendsWithoutWaiting)) this.#ask("not_sent");
    else if (request === "buffered" || request === "buffered_partial")
      this.#port.send(encodeContinue("request_headers"));
  }

  #requestBody({ body, endOfStream }: ProcessingRequest): void {
    if (this.#state === "fresh") {
      this.#failBy("body_before_headers");
      return;
    }
    this.#bodyEnded ||= endOfStream;
    this.#bodyBytes += body.length;
    if (this.#state === "following") {
      this.#answerChunk(body, endOfStream);
      this.#leaveIfDue();
      return;
    }
    const isWhole = this.#modes.request === "buffered" || this.#modes.request === "buffered_partial";
    const hasRoom = this.#port.hold(body.length);
    // Without room the bytes are kept all the same, until the decision that is asked for at once: they must go out.
    if (hasRoom) this.#heldBytes += body.length;
    this.#chunks.push(body);
    if (this.#state === "deciding") return;
    if (isWhole) this.#pending = "request_body";
    if (!hasRoom) this.#ask("buffer_full");
    else if (this.#bodyBytes > this.#limits.bodyBytes) this.#ask("body_large");
    else if (isWhole || endOfStream) this.#ask("none");
  }

  #requestTrailers(): void {
    if (this.#state === "fresh") {
      this.#failBy("body_before_headers");
      return;
    }
    this.#bodyEnded = true;
    if (this.#state === "following") {
      this.#port.send(encodeContinue("request_trailers"));
      this.#leaveIfDue();
      return;
    }
    // Headers that were answered already can carry no pick any more: the trailers' answer brings it, as metadata.
    const isAnswered = this.#modes.request === "buffered" || this.#modes.request === "buffered_partial";
    if (this.#state === "reading" && isAnswered) this.#pending = "request_trailers";
    else this.#trailersDue = true;
    if (this.#state === "reading") this.#ask(this.#bodyBytes === 0 ? "no_body" : "none");
  }

  #response(
    kind: "response_headers" | "response_body" | "response_trailers",
    message: ProcessingRequest,
  ): void {
    // A request that the gateway refused for its headers was never shown: the response comes first.
    if (this.#state === "fresh") this.#modes = message.modes ?? NO_BODIES;
    if (this.#state !== "following") {
      // The gateway answered by itself: there is no request to forward any more, and no pick to tell.
      this.#forgetChunks();
      this.#state = "following";
    }
    this.#sawResponse = true;
    if (kind === "response_headers") {
      if (message.served !== null || message.isUnserved) this.#port.served(message.served);
      this.#port.send(encodeContinue(kind));
    } else if (kind === "response_body") this.#responseBody(message);
    else this.#port.send(encodeContinue(kind));
    if (message.endOfStream || kind === "response_trailers") this.#complete();
  }

  #responseBody({ body, endOfStream }: ProcessingRequest): void {
    if (body.length > 0 && !this.#sawFirstToken) {
      this.#sawFirstToken = true;
      this.#port.firstToken();
    }
    this.#keepTail(body);
    this.#port.responseChunk();
    if (this.#modes.response === "full_duplex") this.#echo("response_body", body, endOfStream);
    else this.#port.send(encodeContinue("response_body"));
  }

  /** The last message was answered. */
  #complete(): void {
    if (this.#tail.length > 0) this.#port.responseTail(this.#tail);
    this.#port.end();
    this.#finish("complete");
  }

  /** Asks for a decision; what was received so far is what it is made by. */
  #ask(gap: BodyGap): void {
    assert(this.#state === "reading", "a decision is asked for once");
    this.#state = "deciding";
    this.#port.ask({
      headers: this.#headers,
      steering: this.#steering,
      body: this.#chunks,
      bodyBytes: this.#bodyBytes,
      gap,
      subset: this.#subset,
    });
  }

  /** Answers the chunks that waited for the pick. */
  #answerChunks(): void {
    this.#chunks.forEach((chunk, i) => {
      this.#answerChunk(chunk, this.#bodyEnded && !this.#trailersDue && i === this.#chunks.length - 1);
    });
  }

  #answerChunk(chunk: Uint8Array, endOfStream: boolean): void {
    if (this.#modes.request === "full_duplex") this.#echo("request_body", chunk, endOfStream);
    else this.#port.send(encodeContinue("request_body"));
  }

  #echo(kind: "request_body" | "response_body", chunk: Uint8Array, endOfStream: boolean): void {
    for (let at = 0; at === 0 || at < chunk.length; at += CHUNK_BYTES_MAX) {
      const end = Math.min(chunk.length, at + CHUNK_BYTES_MAX);
      const head = encodeChunkHead(kind, end - at, endOfStream && end === chunk.length);
      if (end === at) this.#port.send(head);
      else this.#port.sendView(head, chunk.subarray(at, end));
    }
  }

  #keepTail(body: Uint8Array): void {
    if (body.length === 0) return;
    const joined = body.length >= RESPONSE_TAIL_BYTES ? Buffer.from(body) : Buffer.concat([this.#tail, body]);
    this.#tail = joined.subarray(Math.max(0, joined.length - RESPONSE_TAIL_BYTES));
  }

  /** A stream is left once the whole request went back: what comes after is the response. */
  #leaveIfDue(): void {
    const isTold = this.#bodyEnded || this.#modes.request === "none";
    if (!this.#leaves || !isTold || this.#sawResponse) return;
    this.#port.end();
    this.#finish("left");
  }

  /** Without a body in the response, the stream's end is the response's. */
  #isComplete(): boolean {
    return this.#sawResponse && this.#modes.response === "none";
  }

  #forgetChunks(): void {
    this.#chunks = [];
    if (this.#heldBytes > 0) this.#port.hold(-this.#heldBytes);
    this.#heldBytes = 0;
  }

  #failBy(fault: SessionFault): void {
    this.#port.fail(fault);
    this.#finish("failed");
  }

  #finish(end: SessionEnd): void {
    this.#forgetChunks();
    this.#state = "over";
    this.#port.over(end);
  }
}
