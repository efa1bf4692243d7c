/**
 * The routes of OpenAI's API: completions, streamed and not, and the list of models.
 *
 *     body ─▶ readCompletion ─▶ a rank for each prompt ─▶ driver ─▶ tokens ─▶ one object │ event stream
 *     client leaves ─▶ abort, at once, on every rank that works for it
 *
 *  O1  A wrong request gets a status before anything is generated. A stream's head goes out when the
 *      ranks have taken all its prompts (test/completions.test.ts "O1").
 *  O2  A client that leaves ends its requests (test/completions.test.ts "O2").
 *  O3  While the process ends, new requests get 503 and earlier ones are finished
 *      (test/main.test.ts "O3").
 */
import { randomUUID } from "node:crypto";

import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";

import type { FinishedRequest } from "../engine-contract.ts";
import type { EngineDriver } from "../engine-driver.ts";
import { EngineError } from "../engine-error.ts";
import type { SimulatedEngine } from "../simulated-engine.ts";
import { type AnswerHead, usageOf, wholeAnswer } from "./completion-answer.ts";
import { type CompletionKind, type CompletionRequest, readCompletion } from "./completion-request.ts";
import { EventStream } from "./event-stream.ts";
import { httpError } from "./http-error.ts";
import { RANK_HEADER, type RankChoice } from "./rank-choice.ts";

const ID_PREFIXES: Readonly<Record<CompletionKind, string>> = { completion: "cmpl", chat: "chatcmpl" };
/** What a caller may choose as the id of its request: visible ASCII, of the length of a few UUIDs. */
const REQUEST_ID = /^[\x21-\x7e]{1,128}$/;

/** A rank that serves completions. */
export interface DrivenRank {
  readonly engine: SimulatedEngine;
  readonly driver: EngineDriver;
}

/** What the routes act on. */
export interface CompletionDependencies {
  readonly ranks: RankChoice<DrivenRank>;
  /** All of these are of one model and one dialect; this is one of them. */
  readonly engine: SimulatedEngine;
  /** Tokens after which an answer ends by itself. */
  readonly answerTokens: number;
  readonly bodyBytesMax: number;
}

/** The completions of one port, and how many are under way. */
export class CompletionRoutes {
  readonly #dependencies: CompletionDependencies;
  #underWay = 0;
  #isDraining = false;
  #onIdle: (() => void) | null = null;

  constructor(dependencies: CompletionDependencies) {
    this.#dependencies = dependencies;
  }

  /** Whether new requests are refused. */
  get isDraining(): boolean {
    return this.#isDraining;
  }

  /** Adds the routes. */
  register(http: FastifyInstance): void {
    http.post("/v1/completions", (request, reply) => this.#answer("completion", request, reply));
    http.post("/v1/chat/completions", (request, reply) => this.#answer("chat", request, reply));
  }

  /** Refuses new requests from now on; resolves when none is under way. */
  drain(): Promise<void> {
    this.#isDraining = true;
    return new Promise((resolve) => {
      this.#onIdle = resolve;
      this.#checkIdle();
    });
  }

  async #answer(kind: CompletionKind, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    if (this.#isDraining) {
      void reply.header("connection", "close");
      throw new EngineError({ code: "draining" }, "the engine shuts down and takes no new requests");
    }
    const { engine, answerTokens } = this.#dependencies;
    const read = readCompletion(kind, request.body, engine.settings, answerTokens);
    this.#underWay++;
    try {
      return await this.#generate(read, request, reply);
    } finally {
      this.#underWay--;
      this.#checkIdle();
    }
  }

  async #generate(
    read: CompletionRequest,
    { headers }: FastifyRequest,
    reply: FastifyReply,
  ): Promise<unknown> {
    const left = new AbortController();
    reply.raw.once("close", () => {
      left.abort();
    });
    const head: AnswerHead = {
      id: `${ID_PREFIXES[read.kind]}-${idOf(headers["x-request-id"])}`,
      created: Math.floor(Date.now() / 1000),
      request: read,
    };
    let stream: EventStream | null = null;
    const onTokens = (index: number, count: number): void => stream?.generated(index, count);
    const finished = this.#submit(read, headers[RANK_HEADER], left, onTokens);
    if (!read.isStreamed) {
      const usage = usageOf(await finished, this.#dependencies.engine.settings.blockSize);
      return wholeAnswer(head, usage);
    }
    // From here on the answer is the stream's: Fastify neither sends nor reports anything more.
    reply.hijack();
    reply.raw.writeHead(200, {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-cache",
      "x-accel-buffering": "no",
    });
    reply.raw.flushHeaders();
    stream = new EventStream(reply.raw, head);
    try {
      stream.finish(usageOf(await finished, this.#dependencies.engine.settings.blockSize));
    } catch (error) {
      if (!reply.raw.destroyed) stream.fail(httpError(error, this.#dependencies.bodyBytesMax).body);
    }
    return undefined;
  }

  // Takes all prompts or none.
  #submit(
    read: CompletionRequest,
    rankHeader: string | string[] | undefined,
    left: AbortController,
    onTokens: (index: number, count: number) => void,
  ): Promise<FinishedRequest[]> {
    const named = Array.isArray(rankHeader) ? rankHeader.join(",") : rankHeader;
    const taken: Promise<FinishedRequest>[] = [];
    try {
      for (const [index, { promptTokens, answer }] of read.questions.entries()) {
        const { driver } = this.#dependencies.ranks.choose(named);
        const done = driver.submit(
          {
            promptTokens,
            output: answer.tokens,
            loraName: read.loraName,
            cacheSalt: read.cacheSalt,
            endsItself: answer.endsItself,
          },
          {
            signal: left.signal,
            onTokens: read.isStreamed
              ? (count) => {
                  onTokens(index, count);
                }
              : undefined,
          },
        );
        // Awaited together; one that fails first must not leave the others unheard.
        done.catch(() => undefined);
        taken.push(done);
      }
    } catch (error) {
      left.abort();
      throw error;
    }
    return Promise.all(taken);
  }

  #checkIdle(): void {
    if (this.#underWay === 0) this.#onIdle?.();
  }
}

function idOf(given: string | string[] | undefined): string {
  return typeof given === "string" && REQUEST_ID.test(given) ? given : randomUUID().replaceAll("-", "");
}
