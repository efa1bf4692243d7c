/**
 * Sends a workload's requests to a gateway when they are due, over HTTP, and sums up what engines counted.
 *
 *     arrivals ÷ speed ─▶ due ─▶ gateway ─▶ prompt, cached, predicted tokens
 *
 * A request that is late is sent at once: real engines keep real time, so a slow machine shows as a longer run.
 */
import { setTimeout as sleep } from "node:timers/promises";

import { promptTokens } from "../trace/prompt.ts";
import type { WorkloadRequest } from "../workload/workload.ts";
import { type Gateway, GatewayError, type GatewayRequest } from "./gateway.ts";

/** Failures that are told one by one. */
const FAILURES_KEPT = 3;

/** What is sent. */
export interface PacedWorkload {
  readonly requests: readonly WorkloadRequest[];
  readonly model: string;
  readonly seed: number;
  /** Workload seconds per real second. */
  readonly speed: number;
}

/** What came of it. */
export interface PacedResult {
  readonly answered: number;
  readonly failed: number;
  /** What the first of the failures said. */
  readonly failures: readonly string[];
  readonly promptTokens: number;
  /** Of the prompts' tokens, by the engines' own count. */
  readonly cachedTokens: number;
  readonly seconds: number;
}

/**
 * Sends all, and waits for all answers.
 *
 * @param progress - told how many have ended.
 * @param signal - ends it early; it then throws the signal's reason.
 */
export async function sendPaced(
  workload: PacedWorkload,
  gateway: Pick<Gateway, "complete">,
  progress: (ended: number) => void,
  signal: AbortSignal,
): Promise<PacedResult> {
  const beganMs = performance.now();
  const sums = { answered: 0, failed: 0, promptTokens: 0, cachedTokens: 0 };
  const failures: string[] = [];
  const send = async (request: WorkloadRequest, index: number): Promise<void> => {
    try {
      const answer = await gateway.complete(requestOf(request, index, workload));
      sums.answered++;
      sums.promptTokens += answer.promptTokens;
      sums.cachedTokens += answer.cachedTokens;
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error;
      sums.failed++;
      if (failures.length < FAILURES_KEPT) failures.push(error.message);
    }
    progress(sums.answered + sums.failed);
  };
  const open: Promise<void>[] = [];
  for (const [index, request] of workload.requests.entries()) {
    const waitMs = beganMs + request.arrivalMs / workload.speed - performance.now();
    if (waitMs > 0) await sleep(waitMs, undefined, { signal });
    signal.throwIfAborted();
    const sent = send(request, index);
    sent.catch(() => undefined);
    open.push(sent);
  }
  await Promise.all(open);
  return {
    ...sums,
    failures,
    seconds: (performance.now() - beganMs) / 1000,
  };
}

function requestOf(request: WorkloadRequest, index: number, { model, seed }: PacedWorkload): GatewayRequest {
  const tokens = promptTokens(request, seed);
  const answer = { max_tokens: request.outputTokens, ignore_eos: true, seed: index };
  return { model, tokens, body: JSON.stringify({ model, prompt: [...tokens], ...answer }) };
}
