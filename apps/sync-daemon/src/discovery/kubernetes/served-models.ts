/**
 * The models that engines serve, asked of their own HTTP API: `GET /v1/models`, once for each process.
 *
 *     pod that is ready ─▶ asked ─▶ known until the process starts again or the pod goes
 *                            └─ no answer, or none that names a model ─▶ counted, pause ×2, asked again
 *
 * Invariants
 *  M1  At most ASKED_AT_ONCE requests are open, and one for a pod. An answer has at most
 *      ANSWER_BYTES_MAX bytes and counts within a deadline. Nothing is kept of pods that are gone.
 *  M2  A pod that is not ready is not asked; one that was answered keeps its model when it is not ready again.
 *
 * The first model without a parent is the engine's, and others without one are further names of it.
 * Models with a parent are adapters: vLLM and SGLang answer so. Redirects are not followed.
 */

import { request, type IncomingMessage } from "node:http";
import { isIPv6 } from "node:net";

import { z } from "zod";

import { ADAPTERS_MAX, ALIASES_MAX, NAME_LENGTH_MAX } from "../../engine/engine-entry.ts";
import { isWellFormed } from "../../engine/well-formed.ts";
import type { FoundPart, ServedModel } from "./pod-reading.ts";

/** Requests open at once. */
const ASKED_AT_ONCE = 8;
const ANSWER_BYTES_MAX = 1024 * 1024;

const models = z.object({
  data: z.array(
    z.object({
      id: z.string().min(1).max(NAME_LENGTH_MAX).refine(isWellFormed),
      parent: z.string().nullish(),
    }),
  ),
});

/** What the asking works with. */
export interface ServedModelsDependencies {
  readonly timeoutMs: number;
  readonly pauseMsMin: number;
  readonly pauseMsMax: number;
  /** Reads the bearer token; null for none. Rejects when it cannot be read. */
  readonly token: (() => Promise<string>) | null;
  /** A model became known. */
  readonly answered: () => void;
  /** An engine did not say what it serves. */
  readonly failed: (id: string, why: string) => void;
}

interface Asked {
  readonly id: string;
  part: FoundPart;
  model: ServedModel | null;
  failures: number;
  /** Null while it is being asked, and when it need not be. */
  timer: NodeJS.Timeout | null;
  isOpen: boolean;
}

/** See the head of this file. */
export class ServedModels {
  readonly #dependencies: ServedModelsDependencies;
  readonly #ending = new AbortController();
  readonly #asked = new Map<string, Asked>();
  /** Due, first come first asked. */
  #line: Asked[] = [];
  #open = 0;

  /** @param dependencies - who hears, and how long it may take. */
  constructor(dependencies: ServedModelsDependencies) {
    this.#dependencies = dependencies;
  }

  /**
   * The models of pods that leave them to their engines. Pods that are not among them are forgotten.
   *
   * @param parts - by the pod's id.
   * @returns those that are known.
   */
  of(parts: ReadonlyMap<string, FoundPart>): ReadonlyMap<string, ServedModel> {
    for (const [id, asked] of this.#asked)
      if (parts.get(id)?.process !== asked.part.process) this.#forget(asked);
    const known = new Map<string, ServedModel>();
    for (const [id, part] of parts) {
      const asked = this.#asked.get(id) ?? this.#begin(id, part);
      const isNewlyReady = part.isReady && (!asked.part.isReady || asked.failures === 0);
      asked.part = part;
      if (asked.model !== null) known.set(id, asked.model);
      else if (isNewlyReady && !asked.isOpen) this.#due(asked);
    }
    return known;
  }

  /** Asks no more. */
  stop(): void {
    this.#ending.abort();
    for (const asked of this.#asked.values()) this.#forget(asked);
  }

  #begin(id: string, part: FoundPart): Asked {
    const asked: Asked = { id, part, model: null, failures: 0, timer: null, isOpen: false };
    this.#asked.set(id, asked);
    return asked;
  }

  #forget(asked: Asked): void {
    if (asked.timer !== null) clearTimeout(asked.timer);
    asked.timer = null;
    this.#asked.delete(asked.id);
    this.#line = this.#line.filter((other) => other !== asked);
  }

  #due(asked: Asked): void {
    if (asked.timer !== null) clearTimeout(asked.timer);
    asked.timer = null;
    if (!this.#line.includes(asked)) this.#line.push(asked);
    this.#advance();
  }

  #advance(): void {
    while (this.#open < ASKED_AT_ONCE) {
      const asked = this.#line.shift();
      if (asked === undefined) return;
      this.#open += 1;
      asked.isOpen = true;
      void this.#ask(asked).finally(() => {
        this.#open -= 1;
        asked.isOpen = false;
        this.#advance();
      });
    }
  }

  async #ask(asked: Asked): Promise<void> {
    const { timeoutMs, pauseMsMin, pauseMsMax, token, answered, failed } = this.#dependencies;
    try {
      const signal = AbortSignal.any([AbortSignal.timeout(timeoutMs), this.#ending.signal]);
      const model = servedModel(
        await answerOf(asked.part.api, token === null ? null : await token(), signal),
      );
      if (this.#asked.get(asked.id) !== asked) return;
      asked.model = model;
      answered();
    } catch (error) {
      if (this.#asked.get(asked.id) !== asked) return;
      failed(asked.id, error instanceof Error ? error.message : String(error));
      asked.failures += 1;
      const pauseMs = Math.min(pauseMsMax, pauseMsMin * 2 ** (asked.failures - 1));
      asked.timer = setTimeout(() => {
        asked.timer = null;
        if (asked.part.isReady) this.#due(asked);
      }, pauseMs);
      asked.timer.unref();
    }
  }
}

/** The text of an answer, when it is 200 and within its bound. */
async function answerOf(
  { address, port }: FoundPart["api"],
  token: string | null,
  signal: AbortSignal,
): Promise<string> {
  const host = isIPv6(address) ? `[${address}]` : address;
  const headers = token === null ? {} : { authorization: `Bearer ${token}` };
  const url = `http://${host}:${port}/v1/models`;
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    const sent = request(url, { headers: { accept: "application/json", ...headers }, signal, agent: false });
    sent.once("response", resolve).once("error", reject).end();
  });
  try {
    if (answer.statusCode !== 200) throw new Error(`${url} answered ${answer.statusCode ?? 0}`);
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of answer) {
      bytes += (chunk as Buffer).length;
      if (bytes > ANSWER_BYTES_MAX)
        throw new Error(`${url} answered with more than ${ANSWER_BYTES_MAX} bytes`);
      chunks.push(chunk as Buffer);
    }
    return Buffer.concat(chunks).toString("utf8");
  } finally {
    answer.destroy();
  }
}

function servedModel(text: string): ServedModel {
  const parsed = models.safeParse(jsonOf(text));
  const all = parsed.success ? parsed.data.data : [];
  const own = all.filter(({ parent }) => parent === undefined || parent === null).map(({ id }) => id);
  const [name, ...aliases] = own;
  if (name === undefined)
    throw new Error("its /v1/models names no model; expected a list with an id in data");
  const adapters = all.filter(({ parent }) => typeof parent === "string").map(({ id }) => id);
  return { name, aliases: aliases.slice(0, ALIASES_MAX), adapters: adapters.slice(0, ADAPTERS_MAX) };
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
