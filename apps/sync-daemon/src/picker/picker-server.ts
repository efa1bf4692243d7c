/**
 * gRPC over HTTP/2 for the picker: connections and streams in, sessions and health checks out.
 *
 *     connection ─▶ stream ─┬─ …ExternalProcessor/Process ─▶ GrpcFrames ─▶ Session ◀─▶ SessionHost
 *                           ├─ …Health/Check ─▶ SessionHost.health
 *                           └─ anything else ─▶ grpc-status 12
 *
 *  V1  One stream's fault ends that stream with a status and a counted reason; its connection stays
 *      (picker-server.test.ts "V1").
 *  V2  A gateway that ends every stream by a reset keeps its connection: resets are not limited, streams and
 *      connections are (picker-server.test.ts "V2").
 *  V3  A gateway that does not read holds its own stream alone: it is not read from until its answers are gone
 *      (picker-server.test.ts "V3").
 *  V4  Bodies that are held are bounded over all streams (picker-server.test.ts "V4").
 *  V5  When the server has stopped, no session is open and no byte is held (picker-server.test.ts "V5").
 *  V6  What a host throws ends the stream that it was called for, and is counted; a failed assertion ends the process
 *      (picker-server.test.ts "V6").
 *  V7  What one event makes due goes out in one write (picker-server.test.ts "V7").
 *  V8  A health check, or a stream that was refused, is over after SHORT_STREAM_MS: neither keeps a connection busy
 *      (picker-server.deadline.test.ts "V8").
 *  V9  A connection of probes has a few streams at once, and few resets. It shares its thread with picks, and any peer
 *      may reach it (picker-server.test.ts "V9").
 *  V10 While all places are taken, the connection that has been without a stream for longest gives way to a new one
 *      (picker-server.test.ts "V10").
 *  V11 A connection without a first stream ends after FIRST_STREAM_MS, and is counted. Slow prefaces, headers and TLS
 *      handshakes do not prolong that (picker-server.deadline.test.ts "V11").
 *
 * Not here: the decisions (SessionHost), the source of certificates.
 * Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md; node:http2's `streamResetBurst` for V2:
 * Envoy resets each stream, and nghttp2's own limit ends the connection after about a thousand.
 */
import {
  constants,
  createSecureServer,
  createServer,
  type Http2SecureServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { AddressInfo } from "node:net";
import { type SecureContextOptions, Server as TlsServer } from "node:tls";

import { AssertionError } from "@kvsync/core";
import type { Explanation } from "./endpoint-fleet.ts";
import type { TlsContent } from "./picker-tls.ts";
import {
  type Decision,
  type PickQuestion,
  Session,
  type SessionEnd,
  type SessionFault,
  type SessionPort,
} from "./session.ts";
import type { Usage } from "./thread-board.ts";
import { decodeRequest, framed, isFault } from "./wire/ext-proc-codec.ts";
import { type FrameFaultCode, GrpcFrames } from "./wire/grpc-frames.ts";
import { decodeHealthRequest, encodeHealthAnswer, type ServingStatus } from "./wire/health-codec.ts";
import type { ProtoFaultCode } from "./wire/proto-fault.ts";

const PROCESS_PATH = "/envoy.service.ext_proc.v3.ExternalProcessor/Process";
const HEALTH_PATH = "/grpc.health.v1.Health/Check";

const NONE_USED: Usage = { streams: 0, connections: 0, heldBytes: 0 };

/** Statuses of gRPC that are answered. */
const STATUS = {
  ok: 0,
  invalidArgument: 3,
  resourceExhausted: 8,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
};

/** The head of every answer. */
const HEAD = { ":status": 200, "content-type": "application/grpc" };
const WITH_TRAILERS = { waitForTrailers: true };

const MIB = 1024 * 1024;
/** What a gateway may send of one stream before it is read: many chunks of a body. */
const STREAM_WINDOW_BYTES = MIB;
/** The same over all streams of a connection. */
const CONNECTION_WINDOW_BYTES = 16 * MIB;
/** A gateway opens one stream per request, on few connections. */
const STREAMS_PER_CONNECTION_MAX = 10_000;
/** Memory that node:http2 grants a connection, in MB: its window, and as much again to send. */
const SESSION_MEMORY_MB = 64;
/**
 * With several threads at a port a gateway needs many connections, since each connection is one thread's. A client of
 * HTTP/2 counts on so many streams before it knows the limit: a smaller one would refuse the first requests.
 */
const STREAMS_PER_SHARED_CONNECTION_MAX = 100;
/** Far above any gateway's resets, since streams are bounded otherwise (V2). */
const RESETS_PER_SECOND = 1_000_000;
/** What a kubelet needs is one stream, and no reset (V9). */
const PROBE_BOUNDS = {
  streams: 16,
  sessionMemoryMb: 1,
  headersBytes: 8192,
  resetBurst: 64,
  resetsPerSecond: 4,
};
/** An answer to a health check takes a millisecond. */
const SHORT_STREAM_MS = 5000;
/** A connection that opens no stream for so long is no gateway's: these check health every few seconds. */
const FIRST_STREAM_MS = 10_000;
/** Longest message of a health check: a name. */
const HEALTH_MESSAGE_BYTES_MAX = 1024;
/** Largest message beside a body: headers, metadata and attributes. */
const MESSAGE_BYTES_MORE = 256 * 1024;

/** Why a stream of a gateway ended with an error; label values of one counter. */
export type StreamFault =
  | SessionFault
  | ProtoFaultCode
  | FrameFaultCode
  | "unknown_path"
  | "streams_limit"
  | "connections_limit"
  | "no_first_stream"
  | "host_failed";

/** A stream as its host sees it. */
export interface OpenSession {
  /** Unlike every other's of this server. */
  readonly id: number;
  /** See Session.isWaiting. */
  readonly isWaiting: boolean;
  /** See Session.decide. */
  decide(decision: Decision): boolean;
  /** Takes the ranking that a decision is about to be made by; with "leave" none is made. Absent: nobody asks for it. */
  readonly explain?: (explanation: Explanation) => "book" | "leave";
  /** Ends the stream with an error: the host cannot decide. Nothing once it is over. */
  fail(): void;
}

/** Who decides, and hears how requests go (V6). */
export interface SessionHost {
  /** Is to call `session.decide` once, at once or later. */
  ask(session: OpenSession, question: PickQuestion): void;
  /** Null: no endpoint answered. */
  served(session: OpenSession, endpoint: string | null): void;
  firstToken(session: OpenSession): void;
  responseChunk(session: OpenSession): void;
  responseTail(session: OpenSession, tail: Buffer): void;
  /** The request is over; once per session, whether or not it asked. */
  over(session: OpenSession, end: SessionEnd): void;
  /** A stream or connection ended with an error. */
  fault(fault: StreamFault): void;
  /** Answers a health check of a service; empty for the server as a whole. */
  health(service: string): ServingStatus;
}

/** Bounds. */
interface PickerLimits {
  /** Longest body that is read before the pick. */
  readonly bodyBytes: number;
  /** All bodies that are held. */
  readonly bufferedBytes: number;
  readonly streams: number;
  readonly connections: number;
  /** Headers of one gRPC call; those of the request are in a message. */
  readonly headersBytes: number;
}

/** What a server is made of. */
export interface PickerServerOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Null: no TLS. */
  readonly tls: TlsContent | null;
  /** Health checks alone are answered at a port for probes. */
  readonly serves: "gateways" | "probes";
  readonly limits: PickerLimits;
  /** Other threads that listen at the same port; absent when this one is alone. */
  readonly shared?: SharedPort;
}

/** What threads at one port know of each other. */
interface SharedPort {
  /** What all others have now; it counts against the limits. */
  readonly others: Usage;
  /** Told whenever this thread's own use changes. */
  uses(usage: Usage): void;
}

/** See the header. */
export class PickerServer {
  readonly #options: PickerServerOptions;
  readonly #host: SessionHost;
  readonly #server: Http2Server | Http2SecureServer;
  readonly #connections = new Set<ServerHttp2Session>();
  /** Those without a stream, longest first. */
  readonly #idle = new Set<ServerHttp2Session>();
  readonly #sessions = new Map<OpenSession, Session>();
  #isDraining = false;
  #lastId = 0;
  #bufferedBytes = 0;

  constructor(options: PickerServerOptions, host: SessionHost) {
    this.#options = options;
    this.#host = host;
    this.#server = serverOf(options);
    this.#server.on("session", (connection: ServerHttp2Session) => {
      this.#connected(connection);
    });
    this.#server.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
      this.#opened(stream, headers);
    });
    // A client's fault in TLS or in its first bytes: that connection is gone, and nothing else.
    this.#server.on("sessionError", () => undefined);
    this.#server.on("tlsClientError", ({ code }: NodeJS.ErrnoException) => {
      if (code === "ERR_TLS_HANDSHAKE_TIMEOUT") this.#host.fault("no_first_stream");
    });
  }

  /** Streams of requests that are open. */
  get streamCount(): number {
    return this.#sessions.size;
  }

  /** Connections that are open. */
  get connectionCount(): number {
    return this.#connections.size;
  }

  /** Bytes of bodies that wait for a pick. */
  get bufferedBytes(): number {
    return this.#bufferedBytes;
  }

  /** The port that it listens at; 0 before it does, and after it stopped. */
  get port(): number {
    return (this.#server.address() as AddressInfo | null)?.port ?? 0;
  }

  /**
   * Listens.
   *
   * @returns the port.
   * @throws Error with `code`, as node:net has it: EADDRINUSE, EACCES, …
   */
  async listen(): Promise<number> {
    const { host, port, shared } = this.#options;
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen({ port, host, reusePort: shared !== undefined }, () => {
        this.#server.off("error", reject);
        resolve();
      });
    });
    return this.port;
  }

  /** New connections get another certificate; those that stand keep theirs. Only with TLS. */
  renew(tls: TlsContent): void {
    if (this.#server instanceof TlsServer) this.#server.setSecureContext(contextOf(tls));
  }

  /** Takes no new connections; resolves when the open streams have ended and their last bytes are sent. */
  async drained(): Promise<void> {
    this.#isDraining = true;
    this.#server.close();
    for (const connection of this.#connections) connection.close();
    while (this.#connections.size > 0)
      await Promise.all(
        [...this.#connections].map((one) => new Promise<void>((resolve) => one.once("close", resolve))),
      );
  }

  /** Ends everything that is open; resolves when the port is free. */
  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => {
        resolve();
      });
    });
    for (const session of this.#sessions.values()) session.drain();
    for (const connection of this.#connections) connection.destroy();
    await closed;
  }

  #connected(connection: ServerHttp2Session): void {
    // Faults of one connection end it; its streams hear of it by themselves.
    connection.on("error", () => undefined);
    if (this.#connections.size + this.#others.connections >= this.#options.limits.connections) {
      this.#host.fault("connections_limit");
      const [givesWay] = this.#idle;
      turnAway(givesWay ?? connection);
      if (givesWay === undefined) return;
      this.#forget(givesWay);
    }
    this.#connections.add(connection);
    this.#idle.add(connection);
    this.#tellUsage();
    // One that was being made when the server stopped listening.
    if (this.#isDraining) connection.close();
    connection.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
    const silent = setTimeout(() => {
      this.#host.fault("no_first_stream");
      connection.destroy();
    }, FIRST_STREAM_MS);
    connection.once("stream", () => {
      clearTimeout(silent);
    });
    let streams = 0;
    connection.on("stream", (stream: ServerHttp2Stream) => {
      streams += 1;
      this.#idle.delete(connection);
      stream.once("close", () => {
        streams -= 1;
        if (streams === 0 && this.#connections.has(connection)) this.#idle.add(connection);
      });
    });
    connection.once("close", () => {
      clearTimeout(silent);
      this.#forget(connection);
    });
  }

  #forget(connection: ServerHttp2Session): void {
    this.#connections.delete(connection);
    this.#idle.delete(connection);
    this.#tellUsage();
  }

  #opened(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    // A reset by the gateway is its ordinary way to end a stream; "close" tells it.
    stream.on("error", () => undefined);
    const path = headers[":path"];
    if (path === HEALTH_PATH) this.#checkHealth(stream);
    else if (path !== PROCESS_PATH || this.#options.serves === "probes") this.#refuse(stream, "unknown_path");
    else if (this.#sessions.size + this.#others.streams >= this.#options.limits.streams)
      this.#refuse(stream, "streams_limit");
    else this.#process(stream);
  }

  /** Answers a stream with an error and nothing else. */
  #refuse(stream: ServerHttp2Stream, fault: StreamFault): void {
    this.#host.fault(fault);
    stream.respond(
      { ...HEAD, "grpc-status": String(statusOf(fault)), "grpc-message": fault },
      { endStream: true },
    );
    // What it still sends is read and forgotten, so that it can end its side.
    stream.resume();
    endSoon(stream);
  }

  #process(stream: ServerHttp2Stream): void {
    const answers = answerStream(stream);
    const open: OpenSession = {
      id: ++this.#lastId,
      get isWaiting() {
        return session.isWaiting;
      },
      decide: (decision) => {
        stream.cork();
        const isTold = session.decide(decision);
        stream.uncork();
        return isTold;
      },
      fail: () => {
        this.#fail(open, answers, "host_failed");
      },
    };
    const guarded = (work: () => void): void => {
      try {
        work();
      } catch (error) {
        if (error instanceof AssertionError) throw error;
        this.#fail(open, answers, "host_failed");
      }
    };
    const { bodyBytes } = this.#options.limits;
    const session = new Session(this.#portOf(stream, answers, open), { bodyBytes });
    this.#sessions.set(open, session);
    this.#tellUsage();
    const frames = new GrpcFrames(bodyBytes + MESSAGE_BYTES_MORE, (bytes) => {
      const decoded = decodeRequest(bytes);
      if (isFault(decoded)) this.#fail(open, answers, decoded.code);
      else
        guarded(() => {
          session.receive(decoded);
        });
    });
    stream.on("data", (chunk: Buffer) => {
      if (session.isOver) return;
      stream.cork();
      const fault = frames.push(chunk);
      stream.uncork();
      if (fault !== null) this.#fail(open, answers, fault);
    });
    stream.on("drain", () => {
      stream.resume();
    });
    stream.on("end", () => {
      const fault = frames.end();
      if (fault !== null) this.#fail(open, answers, fault);
      guarded(() => {
        session.close();
      });
      answers.end(STATUS.ok, "");
    });
    stream.on("close", () => {
      guarded(() => {
        session.close();
      });
    });
  }

  /** What a session acts on: its stream, and the host. */
  #portOf(stream: ServerHttp2Stream, answers: AnswerStream, open: OpenSession): SessionPort {
    const host = this.#host;
    return {
      send: (frame) => {
        // V3: what cannot be sent now is not added to by reading on.
        if (!stream.write(frame)) stream.pause();
      },
      sendView: (head, view) => {
        stream.write(head);
        if (!stream.write(view)) stream.pause();
      },
      end: () => {
        answers.end(STATUS.ok, "");
      },
      fail: (fault) => {
        host.fault(fault);
        answers.end(STATUS.internal, fault);
      },
      ask: (question) => {
        host.ask(open, question);
      },
      hold: (bytes) => this.#hold(bytes),
      served: (endpoint) => {
        host.served(open, endpoint);
      },
      firstToken: () => {
        host.firstToken(open);
      },
      responseChunk: () => {
        host.responseChunk(open);
      },
      responseTail: (tail) => {
        host.responseTail(open, tail);
      },
      over: (end) => {
        this.#over(open, end);
      },
    };
  }

  /** Ends a stream for a fault that its session does not know. */
  #fail(open: OpenSession, answers: AnswerStream, fault: StreamFault): void {
    const session = this.#sessions.get(open);
    if (session === undefined) return;
    this.#host.fault(fault);
    answers.end(statusOf(fault), fault);
    session.fail();
  }

  #over(open: OpenSession, end: SessionEnd): void {
    this.#sessions.delete(open);
    this.#tellUsage();
    try {
      this.#host.over(open, end);
    } catch (error) {
      if (error instanceof AssertionError) throw error;
      this.#host.fault("host_failed");
    }
  }

  #hold(bytes: number): boolean {
    const held = this.#bufferedBytes + bytes;
    if (bytes > 0 && held + this.#others.heldBytes > this.#options.limits.bufferedBytes) return false;
    this.#bufferedBytes = held;
    this.#tellUsage();
    return true;
  }

  get #others(): Usage {
    return this.#options.shared?.others ?? NONE_USED;
  }

  #tellUsage(): void {
    this.#options.shared?.uses({
      streams: this.#sessions.size,
      connections: this.#connections.size,
      heldBytes: this.#bufferedBytes,
    });
  }

  #checkHealth(stream: ServerHttp2Stream): void {
    const answers = answerStream(stream);
    endSoon(stream);
    const fail = (fault: StreamFault): void => {
      this.#host.fault(fault);
      answers.end(statusOf(fault), fault);
    };
    const frames = new GrpcFrames(HEALTH_MESSAGE_BYTES_MAX, (bytes) => {
      const service = decodeHealthRequest(bytes);
      if (typeof service !== "string") {
        fail(service.code);
        return;
      }
      stream.write(framed(encodeHealthAnswer(this.#host.health(service))));
      answers.end(STATUS.ok, "");
    });
    stream.on("data", (chunk: Buffer) => {
      const fault = frames.push(chunk);
      if (fault !== null) fail(fault);
    });
    stream.on("end", () => {
      const fault = frames.end();
      if (fault !== null) fail(fault);
      answers.end(STATUS.ok, "");
    });
  }
}

/** Ends a connection that there is no place for. */
function turnAway(connection: ServerHttp2Session): void {
  connection.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM);
  connection.destroy();
}

/** Ends a stream that has had its time, whatever its client does (V8). */
function endSoon(stream: ServerHttp2Stream): void {
  const timer = setTimeout(() => {
    stream.close(constants.NGHTTP2_CANCEL);
  }, SHORT_STREAM_MS);
  stream.once("close", () => {
    clearTimeout(timer);
  });
}

function boundsOf({ serves, limits, shared }: PickerServerOptions): typeof PROBE_BOUNDS {
  if (serves === "probes") return PROBE_BOUNDS;
  return {
    streams: shared === undefined ? STREAMS_PER_CONNECTION_MAX : STREAMS_PER_SHARED_CONNECTION_MAX,
    sessionMemoryMb: SESSION_MEMORY_MB,
    headersBytes: limits.headersBytes,
    resetBurst: RESETS_PER_SECOND,
    resetsPerSecond: RESETS_PER_SECOND,
  };
}

function serverOf(all: PickerServerOptions): Http2Server | Http2SecureServer {
  const { tls } = all;
  const { streams, sessionMemoryMb, headersBytes, resetBurst, resetsPerSecond } = boundsOf(all);
  const options = {
    settings: {
      initialWindowSize: STREAM_WINDOW_BYTES,
      maxConcurrentStreams: streams,
      maxHeaderListSize: headersBytes,
    },
    maxSessionMemory: sessionMemoryMb,
    streamResetBurst: resetBurst,
    streamResetRate: resetsPerSecond,
  };
  return tls === null
    ? createServer(options)
    : createSecureServer({
        ...options,
        ...contextOf(tls),
        requestCert: tls.ca !== null,
        rejectUnauthorized: tls.ca !== null,
        ALPNProtocols: ["h2"],
        handshakeTimeout: FIRST_STREAM_MS,
      });
}

function contextOf({ cert, key, ca }: TlsContent): SecureContextOptions {
  return { cert, key, ca: ca ?? undefined, minVersion: "TLSv1.2" };
}

/** The answering side of a stream. */
interface AnswerStream {
  /** Ends it with a status; only the first call does. */
  readonly end: (status: number, message: string) => void;
}

/** Sends a stream's head at once, and its status with the end. */
function answerStream(stream: ServerHttp2Stream): AnswerStream {
  let trailers: Record<string, string> | null = null;
  stream.respond(HEAD, WITH_TRAILERS);
  stream.on("wantTrailers", () => {
    stream.sendTrailers(trailers ?? { "grpc-status": String(STATUS.unavailable) });
    // A call is over with its status: a gateway that has not ended its side is told to send no more.
    setImmediate(() => {
      stream.close(constants.NGHTTP2_NO_ERROR);
    });
  });
  return {
    end: (status, message) => {
      if (trailers !== null || stream.destroyed) return;
      trailers = { "grpc-status": String(status), ...(message !== "" && { "grpc-message": message }) };
      stream.end();
      // What the gateway still sends is read and forgotten.
      stream.resume();
    },
  };
}

function statusOf(fault: StreamFault): number {
  if (fault === "unknown_path") return STATUS.unimplemented;
  if (fault === "streams_limit" || fault === "connections_limit") return STATUS.resourceExhausted;
  return fault === "host_failed" ? STATUS.internal : STATUS.invalidArgument;
}
