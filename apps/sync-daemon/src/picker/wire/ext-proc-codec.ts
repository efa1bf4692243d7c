/**
 * Envoy's external processing protocol: requests of the gateway in, answers of the picker out.
 *
 *     ProcessingRequest    2 request headers   3 response headers   4 request body   5 response body
 *                          6 request trailers  7 response trailers  8 metadata       9 attributes
 *                          11 modes of both bodies
 *     ProcessingResponse   1 … 6 the answer to each of these, in the same order      7 immediate answer
 *                          8 dynamic metadata
 *     answers              common { 2 header mutation   3 body mutation { 3 chunk }   5 clear route cache }
 *
 *  C1  What is not in this picture is skipped, at any depth (ext-proc-codec.test.ts "C1").
 *  C2  Foreign bytes give a request or a fault, never a throw, in time that follows their number
 *      (ext-proc-codec.test.ts "C2").
 *  C3  Only the headers that the picker asks for become strings; `raw_value` wins over `value`
 *      (ext-proc-codec.test.ts "C3").
 *
 * Not here: which answer follows which request (session.ts), frames of gRPC (grpc-frames.ts).
 * Source: envoy/service/ext_proc/v3/external_processor.proto and
 * envoy/extensions/filters/http/ext_proc/v3/processing_mode.proto of Envoy's API; the Gateway API
 * Inference Extension's endpoint picker protocol for the names of headers and metadata.
 */
import { PREFIX_BYTES, writePrefix } from "./grpc-frames.ts";
import { type ProtoFault, ProtoFaultError } from "./proto-fault.ts";
import { ProtoReader, WIRE } from "./proto-reader.ts";
import { ProtoWriter, varintBytes } from "./proto-writer.ts";

/** Kinds of requests, by field number − 2; their answers have field number − 1. */
export const REQUEST_KINDS = [
  "request_headers",
  "response_headers",
  "request_body",
  "response_body",
  "request_trailers",
  "response_trailers",
] as const;

/** See {@link REQUEST_KINDS}. */
export type RequestKind = (typeof REQUEST_KINDS)[number];

/** How a body is sent, by number on the wire. */
export const BODY_MODES = ["none", "streamed", "buffered", "buffered_partial", "full_duplex"] as const;

/** See {@link BODY_MODES}. */
export type BodyMode = (typeof BODY_MODES)[number];

/** What the gateway says once, in the first message of a stream. */
export interface BodyModes {
  readonly request: BodyMode;
  readonly response: BodyMode;
  /** Request body comes while the answer to its headers is awaited (mode `streamed`). */
  readonly sendsWithoutWaiting: boolean;
}

/** Header that names the picked endpoints, and the key of the same value in the metadata. */
export const DESTINATION = "x-gateway-destination-endpoint";
/** Key of the endpoints that the gateway allows. */
const SUBSET = "x-gateway-destination-endpoint-subset";
/** Key of the endpoint that answered. */
const SERVED = "x-gateway-destination-endpoint-served";

const NAMESPACE = "envoy.lb";
const SUBSET_NAMESPACE = "envoy.lb.subset_hint";
const ATTRIBUTES = "envoy.filters.http.ext_proc";
const UPSTREAM_ADDRESS = "upstream.address";
/** How a response came about; an engine's has this value. */
const CODE_DETAILS = "response.code_details";
const VIA_UPSTREAM = "via_upstream";
/** Statuses that a gateway answers with when no endpoint served. An engine may answer with them, too. */
const NOT_SERVED: ReadonlySet<string> = new Set(["502", "503", "504"]);
/** A hint longer than a pool can be is cut; what is cut is not eligible. */
const SUBSET_ENDPOINTS_MAX = 8192;

/** Headers of requests that the picker reads; all others stay bytes. */
const HEADERS_READ = [
  ":method",
  ":path",
  ":status",
  "content-encoding",
  "content-length",
  "content-type",
  "test-epp-endpoint-selection",
  "traceparent",
  "tracestate",
  "x-gateway-inference-objective",
  "x-request-id",
  "x-session-id",
  "x-session-token",
] as const;

const IS_READ: ReadonlySet<string> = new Set(HEADERS_READ);
/** How headers begin that pickers read as orders; engines and their sidecars follow some of them. */
const STEERING = /^x-(?:llm-d|gateway-inference|slo)-/;
const NOTHING = new Uint8Array();
const NO_PREFIX = new Uint8Array(PREFIX_BYTES);

/** One message of the gateway. */
export interface ProcessingRequest {
  /** Null when the message has no part that asks for an answer. */
  readonly kind: RequestKind | null;
  /** Of the headers that HEADERS_READ names, those that came; the last of a name counts. */
  readonly headers: ReadonlyMap<string, string>;
  /** Names of other headers that steer a picker or an engine, as they came. */
  readonly steering: readonly string[];
  /** A view of the message. */
  readonly body: Uint8Array;
  readonly endOfStream: boolean;
  /** Endpoints that the gateway allows; null when it does not say. */
  readonly subset: readonly string[] | null;
  /** Endpoint that answered, from metadata or else from attributes; null when neither says, and when none answered. */
  readonly served: string | null;
  /** A response of the gateway's own, since no endpoint served. Envoy names the last endpoint that it tried even then. */
  readonly isUnserved: boolean;
  /** Null but in the first message; absent there means no body in both directions. */
  readonly modes: BodyModes | null;
}

interface Draft {
  kind: RequestKind | null;
  headers: Map<string, string>;
  steering: string[];
  body: Uint8Array;
  endOfStream: boolean;
  subset: string[] | null;
  served: string | null;
  upstream: string | null;
  details: string | null;
  modes: BodyModes | null;
}

/**
 * Reads one message of the gateway.
 *
 * @param bytes - one gRPC message; the request's body is a view of it.
 * @returns the request, or what is wrong with it. Cost: O(bytes).
 */
export function decodeRequest(bytes: Uint8Array): ProcessingRequest | ProtoFault {
  const draft: Draft = {
    kind: null,
    headers: new Map(),
    steering: [],
    body: NOTHING,
    endOfStream: false,
    subset: null,
    served: null,
    upstream: null,
    details: null,
    modes: null,
  };
  try {
    const reader = new ProtoReader(bytes);
    while (reader.next() !== 0) readPart(reader, draft);
  } catch (error) {
    if (error instanceof ProtoFaultError) return error.fault;
    throw error;
  }
  const { upstream, details, ...request } = draft;
  const served = draft.served ?? upstream;
  const isOwn = details === null ? served === null : details !== VIA_UPSTREAM;
  const isUnserved = isOwn && NOT_SERVED.has(draft.headers.get(":status") ?? "");
  return { ...request, served: isUnserved ? null : served, isUnserved };
}

/** Tells faults from requests. */
export function isFault(decoded: ProcessingRequest | ProtoFault): decoded is ProtoFault {
  return "code" in decoded;
}

function readPart(reader: ProtoReader, draft: Draft): void {
  const kind = REQUEST_KINDS[reader.field - 2];
  if (kind !== undefined) {
    draft.kind = kind;
    readContent(reader, kind, draft);
  } else if (reader.field === 8)
    readNested(reader, (metadata) => {
      if (metadata.field !== 1) metadata.skip();
      else
        readEntry(metadata, (key) => {
          readNamespace(metadata, key, draft);
        });
    });
  else if (reader.field === 9)
    readEntry(reader, (key) => {
      readAttributes(reader, key, draft);
    });
  else if (reader.field === 11) draft.modes = readModes(reader);
  else reader.skip();
}

/** Reads the nested message at hand, field by field. */
function readNested(reader: ProtoReader, field: (reader: ProtoReader) => void): void {
  const outer = reader.enter();
  while (reader.next() !== 0) field(reader);
  reader.leave(outer);
}

/** Reads an entry of a map whose values are messages: `value` is called at its value, with the key that came before it. */
function readEntry(reader: ProtoReader, value: (key: string) => void): void {
  let key = "";
  readNested(reader, () => {
    if (reader.field === 1) key = reader.text();
    else if (reader.field === 2) value(key);
    else reader.skip();
  });
}

function readContent(reader: ProtoReader, kind: RequestKind, draft: Draft): void {
  const isHeaders = kind === "request_headers" || kind === "response_headers";
  const isBody = kind === "request_body" || kind === "response_body";
  readNested(reader, () => {
    if (isHeaders && reader.field === 1) readHeaders(reader, draft);
    else if (isHeaders && reader.field === 3) draft.endOfStream = reader.flag();
    else if (isBody && reader.field === 1) draft.body = reader.bytes();
    else if (isBody && reader.field === 2) draft.endOfStream = reader.flag();
    else reader.skip();
  });
}

function readHeaders(reader: ProtoReader, draft: Draft): void {
  readNested(reader, () => {
    if (reader.field === 1) readHeader(reader, draft);
    else reader.skip();
  });
}

function readHeader(reader: ProtoReader, { headers, steering }: Draft): void {
  let key = "";
  const value = { text: "", raw: "" };
  readNested(reader, () => {
    if (reader.field === 1) key = reader.text();
    else if (reader.field === 2 && IS_READ.has(key)) value.text = reader.text();
    else if (reader.field === 3 && IS_READ.has(key)) value.raw = reader.text();
    else reader.skip();
  });
  if (IS_READ.has(key)) headers.set(key, value.raw === "" ? value.text : value.raw);
  if (STEERING.test(key)) steering.push(key);
}

function readModes(reader: ProtoReader): BodyModes {
  let request: BodyMode = "none";
  let response: BodyMode = "none";
  let sendsWithoutWaiting = false;
  readNested(reader, () => {
    if (reader.field === 1) request = modeOf(reader.uint32());
    else if (reader.field === 2) response = modeOf(reader.uint32());
    else if (reader.field === 3) sendsWithoutWaiting = reader.flag();
    else reader.skip();
  });
  return { request, response, sendsWithoutWaiting };
}

/** A mode that is not known is taken for the one that asks least: no body comes. */
function modeOf(number: number): BodyMode {
  return BODY_MODES[number] ?? "none";
}

/** A namespace of the metadata: a struct. */
function readNamespace(reader: ProtoReader, namespace: string, draft: Draft): void {
  readStruct(reader, (key) => {
    if (namespace === SUBSET_NAMESPACE && key === SUBSET) draft.subset = readEndpoints(reader);
    else if (namespace === NAMESPACE && key === SERVED) draft.served = readText(reader);
    else reader.skip();
  });
}

/** Attributes of the response. Envoy gives them under the filter's name. */
function readAttributes(reader: ProtoReader, key: string, draft: Draft): void {
  if (key !== ATTRIBUTES) {
    reader.skip();
    return;
  }
  readStruct(reader, (name) => {
    if (name === UPSTREAM_ADDRESS) draft.upstream = readText(reader);
    else if (name === CODE_DETAILS) draft.details = readText(reader);
    else reader.skip();
  });
}

/** Reads a struct; `value` is called at the value of each of its fields. */
function readStruct(reader: ProtoReader, value: (key: string) => void): void {
  readNested(reader, () => {
    if (reader.field === 1) readEntry(reader, value);
    else reader.skip();
  });
}

/** A value of a struct that should be text; null when it is something else. */
function readText(reader: ProtoReader): string | null {
  let text: string | null = null;
  readNested(reader, () => {
    if (reader.field === 3) text = reader.text();
    else reader.skip();
  });
  return text;
}

/** A list of endpoints: a list of texts, or one text with commas between them. Both are in use. */
function readEndpoints(reader: ProtoReader): string[] {
  const endpoints: string[] = [];
  const add = (text: string): void => {
    for (const part of text.split(",")) {
      const endpoint = part.trim();
      if (endpoint !== "" && endpoints.length < SUBSET_ENDPOINTS_MAX) endpoints.push(endpoint);
    }
  };
  readNested(reader, () => {
    if (reader.field === 3) add(reader.text());
    else if (reader.field === 6)
      readNested(reader, () => {
        if (reader.field === 1) add(readText(reader) ?? "");
        else reader.skip();
      });
    else reader.skip();
  });
  return endpoints;
}

/** A header that is set, whatever stood there before. */
type SetHeader = readonly [name: string, value: string];

/** A value of the dynamic metadata. */
type MetadataValue = string | number | boolean;

/** What a pick tells the gateway. */
export interface PickAnswer {
  /** Value of header and metadata: endpoints by preference, with commas between them. */
  readonly destination: string;
  readonly setHeaders: readonly SetHeader[];
  readonly removeHeaders: readonly string[];
  /** For access logs, under `kvsync`. */
  readonly facts: Readonly<Record<string, MetadataValue>>;
}

/** An answer that the client gets instead of an engine's. */
export interface ImmediateAnswer {
  /** HTTP status. */
  readonly status: number;
  readonly headers: readonly SetHeader[];
  readonly body: string;
  /** Shows in the gateway's access log. */
  readonly details: string;
}

/** Append action that replaces a header or adds it. */
const OVERWRITE_OR_ADD = 2;

/**
 * Writes the answer to headers, body or trailers that changes nothing.
 *
 * @returns one gRPC message with its prefix.
 */
export function encodeContinue(kind: RequestKind): Buffer {
  const writer = frameWriter();
  writer.open(answerField(kind));
  writer.close();
  return finished(writer);
}

/**
 * Writes a pick. After trailers only the metadata can carry it.
 *
 * @param kind - what is answered.
 * @returns one gRPC message with its prefix.
 */
export function encodePick(kind: RequestKind, pick: PickAnswer): Buffer {
  const writer = frameWriter();
  writer.open(answerField(kind));
  if (kind !== "request_trailers") {
    writer.open(1);
    writer.open(2);
    writeHeader(writer, DESTINATION, pick.destination);
    writeMutation(writer, pick.setHeaders, pick.removeHeaders);
    writer.close();
    writer.yes(5);
    writer.close();
  }
  writer.close();
  writer.open(8);
  writeField(writer, NAMESPACE, () => {
    writer.open(5);
    writeField(writer, DESTINATION, () => {
      writer.text(3, pick.destination);
    });
    writer.close();
  });
  writeStruct(writer, "kvsync", pick.facts);
  writer.close();
  return finished(writer);
}

/**
 * Writes an answer that ends the request.
 *
 * @returns one gRPC message with its prefix.
 */
export function encodeImmediate(answer: ImmediateAnswer): Buffer {
  const writer = frameWriter();
  writer.open(7);
  writer.open(1);
  writer.uint32(1, answer.status);
  writer.close();
  writer.open(2);
  writeMutation(writer, answer.headers, []);
  writer.close();
  writer.text(3, answer.body);
  writer.text(5, answer.details);
  writer.close();
  return finished(writer);
}

/**
 * Writes what stands before a chunk of a body that goes back to the gateway (full duplex). The chunk's bytes are to follow, as the
 * last field of the message: they are not copied.
 *
 * @param chunkBytes - how many will follow.
 * @returns one gRPC message with its prefix, up to the chunk.
 */
export function encodeChunkHead(
  kind: "request_body" | "response_body",
  chunkBytes: number,
  endOfStream: boolean,
): Buffer {
  const content = (chunkBytes === 0 ? 0 : 1 + varintBytes(chunkBytes) + chunkBytes) + (endOfStream ? 2 : 0);
  const mutation = 1 + varintBytes(content) + content;
  const common = 1 + varintBytes(mutation) + mutation;
  const answer = 1 + varintBytes(common) + common;
  const message = 1 + varintBytes(answer) + answer;
  const bytes = Buffer.allocUnsafe(PREFIX_BYTES + message - chunkBytes);
  writePrefix(bytes, 0, message);
  let at = PREFIX_BYTES;
  const head = (field: number, length: number): void => {
    bytes[at++] = (field << 3) | WIRE.bytes;
    for (let rest = length; ; rest >>>= 7) {
      bytes[at++] = rest > 0x7f ? (rest & 0x7f) | 0x80 : rest;
      if (rest <= 0x7f) break;
    }
  };
  head(answerField(kind), answer);
  head(1, common);
  head(3, mutation);
  head(3, content);
  // Before the chunk, though its number is higher: readers of protobuf take fields in any order.
  if (endOfStream) {
    bytes[at++] = (2 << 3) | WIRE.varint;
    bytes[at++] = 1;
  }
  if (chunkBytes > 0) head(1, chunkBytes);
  return bytes;
}

/** A writer that leaves room for a frame's prefix. */
function frameWriter(): ProtoWriter {
  const writer = new ProtoWriter();
  writer.raw(NO_PREFIX);
  return writer;
}

/** The frame that a {@link frameWriter} wrote. */
function finished(writer: ProtoWriter): Buffer {
  const bytes = writer.take();
  writePrefix(bytes, 0, bytes.length - PREFIX_BYTES);
  return bytes;
}

/** Puts the prefix of a gRPC frame before a message. */
export function framed(message: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(PREFIX_BYTES + message.length);
  writePrefix(bytes, 0, message.length);
  message.copy(bytes, PREFIX_BYTES);
  return bytes;
}

function answerField(kind: RequestKind): number {
  return REQUEST_KINDS.indexOf(kind) + 1;
}

function writeMutation(
  writer: ProtoWriter,
  setHeaders: readonly SetHeader[],
  removeHeaders: readonly string[],
): void {
  for (const [name, value] of setHeaders) writeHeader(writer, name, value);
  if (removeHeaders.length > 0) writer.raw(removals(removeHeaders));
}

function writeHeader(writer: ProtoWriter, name: string, value: string): void {
  writer.open(1);
  writer.open(1);
  writer.text(1, name);
  // In `raw_value`: gateways read it before `value`.
  writer.text(3, value);
  writer.close();
  writer.uint32(3, OVERWRITE_OR_ADD);
  writer.close();
}

/** Written removals, by their list: every pick has the same. */
const writtenRemovals = new WeakMap<readonly string[], Buffer>();

function removals(names: readonly string[]): Buffer {
  const known = writtenRemovals.get(names);
  if (known !== undefined) return known;
  const writer = new ProtoWriter();
  for (const name of names) writer.text(2, name);
  const written = writer.take();
  writtenRemovals.set(names, written);
  return written;
}

/** One field of the metadata's struct: a namespace with its values. */
function writeStruct(
  writer: ProtoWriter,
  namespace: string,
  values: Readonly<Record<string, MetadataValue>>,
): void {
  writeField(writer, namespace, () => {
    writer.open(5);
    for (const [key, value] of Object.entries(values))
      writeField(writer, key, () => {
        if (typeof value === "string") writer.text(3, value);
        else if (typeof value === "number") writer.double(2, value);
        else writer.uint32(4, value ? 1 : 0);
      });
    writer.close();
  });
}

/** An entry of a struct's fields. */
function writeField(writer: ProtoWriter, key: string, value: () => void): void {
  writer.open(1);
  writer.text(1, key);
  writer.open(2);
  value();
  writer.close();
  writer.close();
}
