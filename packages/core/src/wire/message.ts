/**
 * ZeroMQ messages of the protocol: which frames, in which order, on which socket.
 *
 *     live          PUB → SUB          [topic] [sequence number] [payload]
 *     request       DEALER → ROUTER    [""] [start]                    arrives as [identity] [""] [start]
 *     reply, plain  ROUTER → DEALER    [""] [sequence number] [payload]                (vLLM < 0.26, SGLang)
 *     reply, topic  ROUTER → DEALER    [""] [topic] [sequence number] [payload]        (vLLM ≥ 0.26, TensorRT-LLM)
 *     end           ROUTER → DEALER    as a reply with sequence number ff…ff, payload "" (and topic "")
 *
 * A sequence number is a u64, big-endian, in eight bytes. Here it is a JavaScript number. At a
 * thousand messages per second, 2⁵³ lasts 285,000 years, so a greater number is an error. All ones
 * mean "end", and mean it in a replay only.
 *
 * Replies are read by shape, not by version. The last frame is the payload, the frame before it the
 * number. A leading empty frame of three or four is the delimiter (or, without delimiter, an empty
 * topic, which is also dropped).
 *
 * Source: vllm/distributed/kv_events.py (ZmqEventPublisher) @ b4e69e0a for the plain replies, the later topic frame from
 * vllm-project/vllm#45177; sglang disaggregation/kv_events.py @ 006d053f; tensorrt_llm/_torch/pyexecutor/kv_cache_events.py.
 */
import { lenientUtf8, utf8 } from "../text-codec.ts";
import { assert } from "../assert.ts";
import { type FrameErrorCode, WireError } from "./wire-error.ts";

const TWO_32 = 4_294_967_296;
const SEQUENCE_BYTES = 8;
const NO_BYTES = new Uint8Array(0);

/** A published message. The frames are those handed in, not copies. */
export interface LiveMessage {
  /** UTF-8, may be empty; see {@link topicText}. */
  readonly topic: Uint8Array;
  readonly sequenceNumber: number;
  /** An event batch, for `EventBatchDecoder`. */
  readonly payload: Uint8Array;
}

/** One message of the answer to a replay request. */
export type ReplayReply =
  | { readonly kind: "message"; readonly sequenceNumber: number; readonly payload: Uint8Array }
  | { readonly kind: "end" };

/** A replay request as a ROUTER sees it. */
export interface ReplayRequest {
  /** Routing id of the asker: the first frame of each reply. */
  readonly identity: Uint8Array;
  /** First sequence number wanted. */
  readonly startSequenceNumber: number;
}

/** Whether replies carry the topic: `plain` before vLLM 0.26 and in SGLang, `topic` since. */
export type ReplayShape = "plain" | "topic";

/**
 * Reads the frames of a live message.
 *
 * @param frames - as received by a SUB socket.
 * @returns its parts; the bytes are the frames themselves.
 * @throws WireError `wrong_frame_count`, `wrong_sequence_length`, `sequence_number_out_of_range`, `empty_payload`.
 */
export function parseLiveFrames(frames: readonly Uint8Array[]): LiveMessage {
  if (frames.length !== 3) {
    throw frameError("wrong_frame_count", 0, "3 frames: topic, sequence number, payload", `${frames.length}`);
  }
  const sequenceNumber = readSequenceNumber(frames[1], 1);
  if (frames[2].byteLength === 0) throw frameError("empty_payload", 2, "an event batch", "an empty frame");
  return { topic: frames[0], sequenceNumber, payload: frames[2] };
}

/**
 * Reads the frames of a replay reply, in both shapes, at a DEALER (leading empty frame) or a REQ (none).
 *
 * @param frames - as received.
 * @returns a message, or the end of the replay.
 * @throws WireError `wrong_frame_count`, `missing_delimiter`, `wrong_sequence_length`, `sequence_number_out_of_range`,
 * `empty_payload`.
 */
export function parseReplayFrames(frames: readonly Uint8Array[]): ReplayReply {
  const count = frames.length;
  if (count < 2 || count > 4) {
    throw frameError("wrong_frame_count", 0, "2 to 4 frames, the last the payload", `${count}`);
  }
  if (count === 4 && frames[0].byteLength !== 0) {
    throw frameError(
      "missing_delimiter",
      0,
      "an empty frame before topic, sequence number and payload",
      `${frames[0].byteLength} bytes`,
    );
  }
  const sequence = frames[count - 2];
  const payload = frames[count - 1];
  if (payload.byteLength === 0 && isEndNumber(sequence)) return { kind: "end" };
  const sequenceNumber = readSequenceNumber(sequence, count - 2);
  if (payload.byteLength === 0) {
    throw frameError("empty_payload", count - 1, "an event batch", "an empty frame");
  }
  return { kind: "message", sequenceNumber, payload };
}

/**
 * Reads a replay request on the publisher's side.
 *
 * @param frames - as received by a ROUTER socket.
 * @returns who asks for what. The start may have any length up to eight bytes, as it may at vLLM's publisher, and one past
 * 2⁵³ − 1 is taken as 2⁵³ − 1: both lie in the future.
 * @throws WireError `wrong_frame_count`, `missing_delimiter`, `wrong_sequence_length`.
 */
export function parseReplayRequest(frames: readonly Uint8Array[]): ReplayRequest {
  if (frames.length !== 3) {
    throw frameError("wrong_frame_count", 0, "3 frames: identity, delimiter, start", `${frames.length}`);
  }
  if (frames[1].byteLength !== 0) {
    throw frameError("missing_delimiter", 1, "an empty frame", `${frames[1].byteLength} bytes`);
  }
  const start = frames[2];
  if (start.byteLength > SEQUENCE_BYTES) {
    throw frameError("wrong_sequence_length", 2, "at most 8 bytes", `${start.byteLength}`);
  }
  let startSequenceNumber = 0;
  for (const byte of start) startSequenceNumber = startSequenceNumber * 256 + byte;
  return {
    identity: frames[0],
    startSequenceNumber: Math.min(startSequenceNumber, Number.MAX_SAFE_INTEGER),
  };
}

/**
 * The frames of a live message, for a PUB socket.
 *
 * @param topic - text or its UTF-8.
 * @param sequenceNumber - 0 … 2⁵³ − 1.
 * @param payload - an encoded batch; handed through.
 * @returns three frames.
 */
export function encodeLiveFrames(
  topic: string | Uint8Array,
  sequenceNumber: number,
  payload: Uint8Array,
): Uint8Array[] {
  return [topicBytes(topic), sequenceFrame(sequenceNumber), payload];
}

/**
 * The frames of a replay request, for a DEALER socket. Without the empty frame a publisher stays silent.
 *
 * @param startSequenceNumber - first one wanted.
 * @returns two frames.
 */
export function encodeReplayRequest(startSequenceNumber: number): Uint8Array[] {
  return [NO_BYTES, sequenceFrame(startSequenceNumber)];
}

/**
 * The frames of one replayed message, for a ROUTER socket.
 *
 * @param reply - to whom, in which shape, and what; the topic counts in shape `topic` only.
 * @returns four or five frames, identity first.
 */
export function encodeReplayReply(reply: {
  readonly identity: Uint8Array;
  readonly shape: ReplayShape;
  readonly topic: string | Uint8Array;
  readonly sequenceNumber: number;
  readonly payload: Uint8Array;
}): Uint8Array[] {
  const number = sequenceFrame(reply.sequenceNumber);
  return reply.shape === "plain"
    ? [reply.identity, NO_BYTES, number, reply.payload]
    : [reply.identity, NO_BYTES, topicBytes(reply.topic), number, reply.payload];
}

/**
 * The frames that end a replay, for a ROUTER socket.
 *
 * @param identity - to whom.
 * @param shape - the shape of the replies before it; the topic is empty here.
 * @returns four or five frames, identity first.
 */
export function encodeReplayEnd(identity: Uint8Array, shape: ReplayShape): Uint8Array[] {
  const number = new Uint8Array(SEQUENCE_BYTES).fill(0xff);
  return shape === "plain"
    ? [identity, NO_BYTES, number, NO_BYTES]
    : [identity, NO_BYTES, NO_BYTES, number, NO_BYTES];
}

/**
 * A topic for people and logs.
 *
 * @param topic - the first frame of a live message.
 * @returns its text, broken UTF-8 replaced.
 */
export function topicText(topic: Uint8Array): string {
  return lenientUtf8.decode(topic);
}

function topicBytes(topic: string | Uint8Array): Uint8Array {
  return typeof topic === "string" ? utf8.encode(topic) : topic;
}

function sequenceFrame(sequenceNumber: number): Uint8Array {
  assert(
    Number.isSafeInteger(sequenceNumber) && sequenceNumber >= 0,
    () => `a sequence number is 0 … 2⁵³ − 1, not ${sequenceNumber}`,
  );
  const frame = new Uint8Array(SEQUENCE_BYTES);
  const view = new DataView(frame.buffer);
  view.setUint32(0, Math.floor(sequenceNumber / TWO_32));
  view.setUint32(4, sequenceNumber >>> 0);
  return frame;
}

function readSequenceNumber(frame: Uint8Array, frameIndex: number): number {
  if (frame.byteLength !== SEQUENCE_BYTES) {
    throw frameError("wrong_sequence_length", frameIndex, "8 bytes", `${frame.byteLength}`);
  }
  let high = 0;
  for (let at = 0; at < 4; at += 1) high = high * 256 + frame[at];
  let low = 0;
  for (let at = 4; at < 8; at += 1) low = low * 256 + frame[at];
  const sequenceNumber = high * TWO_32 + low;
  if (!Number.isSafeInteger(sequenceNumber)) {
    const hex = Array.from(frame, (byte) => byte.toString(16).padStart(2, "0")).join("");
    throw frameError("sequence_number_out_of_range", frameIndex, "at most 2⁵³ − 1", `0x${hex}`);
  }
  return sequenceNumber;
}

function isEndNumber(frame: Uint8Array): boolean {
  return frame.byteLength === SEQUENCE_BYTES && frame.every((byte) => byte === 0xff);
}

function frameError(code: FrameErrorCode, frameIndex: number, expected: string, actual: string): WireError {
  return new WireError({ code, frameIndex, expected, actual });
}
