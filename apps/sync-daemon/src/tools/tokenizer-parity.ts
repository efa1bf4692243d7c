/**
 * Checks whether the tokenizer that lookups use makes the same tokens as the engine. Where they
 * differ, no prompt is ever found, and nothing else looks wrong.
 *
 *   probe ─▶ POST {tokenizer}/tokenize ─▶ ids ─┐
 *   probe ─▶ POST {engine}/tokenize ────▶ ids ─┴─▶ equal, or the first position at which they are not
 *
 * Probes are texts of our own (tokenizer/parity-probes.ts).
 */

import { CHAT_PROBES, type ParityProbe, TEXT_PROBES } from "../tokenizer/parity-probes.ts";
import { tokenizeAnswer, tokenizeRequest, type TokenizerFields } from "../tokenizer/tokenize-request.ts";
import type { Finding } from "./finding.ts";

/** Longest wait for one answer. */
const TIMEOUT_MS = 10_000;

const PROBES: readonly ParityProbe[] = [...TEXT_PROBES, ...CHAT_PROBES.slice(0, 1)];

/** An engine's HTTP address, for comparison. */
export interface EngineHttp {
  readonly worker: string;
  readonly url: string;
}

type Answer = readonly number[] | string;

/**
 * Asks a tokenizer, and the given engines of a model, for the same probes.
 *
 * @param tokenizer - its base URL.
 * @param model - to ask it for.
 * @param engines - to compare with, each with its model; those of other models are left out.
 * @returns one finding, and one per engine and probe that differs, or one that says they agree.
 */
export async function examineTokenizer(
  tokenizer: string,
  model: string,
  engines: readonly (EngineHttp & { readonly model: string })[],
): Promise<Finding[]> {
  const answers = await Promise.all(PROBES.map(({ fields }) => ask(tokenizer, model, fields)));
  const wrong = PROBES.flatMap(({ name }, i) =>
    typeof answers[i] === "string" ? [`${name}: ${answers[i]}`] : [],
  );
  const message =
    wrong.length === 0
      ? `${tokenizer} tokenizes texts and conversations`
      : `${tokenizer}: ${wrong.join("; ")}`;
  const status = wrong.length === 0 ? "ok" : "fail";
  const findings: Finding[] = [{ check: "tokenizer", subject: model, status, message }];
  for (const engine of engines)
    if (engine.model === model) findings.push(...(await compare(answers, engine)));
  return findings;
}

async function compare(
  answers: readonly Answer[],
  { worker, url, model }: EngineHttp & { readonly model: string },
): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const [i, { name, fields }] of PROBES.entries()) {
    const expected = await ask(url, model, fields);
    const got = answers[i];
    if (typeof expected === "string") findings.push(parity(worker, "fail", `${url}: ${name}: ${expected}`));
    else if (typeof got === "object") {
      const at = firstDifference(got, expected);
      if (at !== null)
        findings.push(
          parity(
            worker,
            "fail",
            `the tokenizer and the engine differ in ${name}, first at token ${at} (${got.length} and ${expected.length} tokens): are model, revision and chat template the same?`,
          ),
        );
    }
  }
  if (findings.length === 0)
    findings.push(parity(worker, "ok", `${url} makes the same tokens as the tokenizer`));
  return findings;
}

function parity(subject: string, status: Finding["status"], message: string): Finding {
  return { check: "parity", subject, status, message };
}

function firstDifference(one: readonly number[], other: readonly number[]): number | null {
  const length = Math.max(one.length, other.length);
  for (let i = 0; i < length; i += 1) if (one[i] !== other[i]) return i;
  return null;
}

/** @returns token ids, or what is wrong. */
async function ask(base: string, model: string, fields: TokenizerFields): Promise<Answer> {
  try {
    const response = await fetch(`${base.replace(/\/+$/, "")}/tokenize`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: tokenizeRequest(model, fields).body,
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (response.status !== 200) return `POST /tokenize answered ${response.status}`;
    const { tokens } = tokenizeAnswer.parse(await response.json());
    return tokens.every((token) => typeof token === "number") ? tokens : "its answer is no list of token ids";
  } catch (error) {
    if (!(error instanceof Error)) return String(error);
    const { cause } = error;
    return cause instanceof Error && "code" in cause ? String(cause.code) : error.message;
  }
}
