/**
 * The lookup of a prompt as bars, one for each engine that holds its beginning. With a picker, also where it would send the request.
 */

import type { MatchAnswer, RankedEndpoint, WorkerMatch } from "@kvsync/client";
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";

import { ApiError, apiUrl, post, token } from "../page/api.ts";
import { fleetSummary, hasData, hasFeature } from "../page/state.ts";
import { Code, Panel } from "../parts/panel.tsx";
import { Rich } from "../parts/rich.tsx";
import { Tag } from "../parts/tag.tsx";
import { PREFIXES } from "../texts/prefixes.ts";
import { count, measure, milliseconds, percent, textOf } from "../words.ts";
import {
  blocksOf,
  curlOf,
  type MatchBody,
  type PromptKind,
  pickerBodyOf,
  readInput,
} from "./prompt-input.ts";

const TIERS = ["device", "host", "disk", "remote"] as const;
const TICKS = 4;
const COPIED_MS = 2000;
const TRACK = 1000;

interface PickExplanation {
  readonly reason: string;
  readonly endpoints: readonly RankedEndpoint[];
}

/** What is shown at the right. */
type Result =
  | { readonly kind: "none" }
  | { readonly kind: "asking" }
  | { readonly kind: "failed"; readonly failure: ApiError }
  | {
      readonly kind: "found";
      readonly body: MatchBody;
      readonly answer: MatchAnswer;
      readonly seconds: number;
      readonly pick: PickExplanation | ApiError | null;
    };

function apiError(error: unknown): ApiError {
  return error instanceof ApiError ? error : new ApiError(0, "", String(error), "");
}

async function lookUp(body: MatchBody): Promise<Result> {
  const start = performance.now();
  try {
    const answer = await post<MatchAnswer>("match", body);
    const seconds = (performance.now() - start) / 1000;
    const pick = hasFeature("picker")
      ? await post<PickExplanation>("picker/explain", pickerBodyOf(body)).catch(apiError)
      : null;
    return { kind: "found", body, answer, seconds, pick };
  } catch (error) {
    return { kind: "failed", failure: apiError(error) };
  }
}

/** The view. */
export function Prefixes(): ComponentChildren {
  const [result, setResult] = useState<Result>({ kind: "none" });
  return (
    <div class="with-form">
      <LookupForm
        isAsking={result.kind === "asking"}
        onAsk={(body) => {
          setResult({ kind: "asking" });
          void lookUp(body).then(setResult);
        }}
      />
      <div class="stack" aria-live="polite">
        <Answer result={result} />
        {result.kind === "found" && result.pick !== null ? <Pick pick={result.pick} /> : null}
      </div>
    </div>
  );
}

function LookupForm({
  isAsking,
  onAsk,
}: {
  readonly isAsking: boolean;
  readonly onAsk: (body: MatchBody) => void;
}): ComponentChildren {
  const [kind, setKind] = useState<PromptKind>("prompt");
  const [model, setModel] = useState<string | null>(null);
  const [adapter, setAdapter] = useState("");
  const [text, setText] = useState("");
  const [fault, setFault] = useState<string | null>(null);
  const models = fleetSummary.value.models.map((one) => one.model).filter((name) => name !== "");
  const chosen = model ?? models[0] ?? "";
  const submit = (): void => {
    const input = readInput(kind, text, chosen, adapter);
    setFault(input.kind === "fault" ? input.fault : null);
    if (input.kind === "body") onAsk(input.body);
  };
  return (
    <form
      class="panel form"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
      onKeyDown={(event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) submit();
      }}
    >
      <header>
        <h2>{PREFIXES.title}</h2>
      </header>
      <label class="fld">
        <span>{PREFIXES.model}</span>
        <input
          class="input"
          list="models"
          autocomplete="off"
          spellcheck={false}
          value={chosen}
          onInput={(event) => {
            setModel(event.currentTarget.value);
          }}
        />
      </label>
      <datalist id="models">
        {models.map((name) => (
          <option key={name} value={name} />
        ))}
      </datalist>
      <label class="fld">
        <span>{PREFIXES.adapter}</span>
        <input
          class="input"
          autocomplete="off"
          spellcheck={false}
          placeholder={PREFIXES.none}
          value={adapter}
          onInput={(event) => {
            setAdapter(event.currentTarget.value);
          }}
        />
      </label>
      <div class="seg" role="group" aria-label={PREFIXES.input}>
        {(["prompt", "messages", "tokens"] as const).map((one) => (
          <button
            key={one}
            type="button"
            aria-pressed={one === kind}
            onClick={() => {
              setKind(one);
              setFault(null);
            }}
          >
            {PREFIXES.kinds[one]}
          </button>
        ))}
      </div>
      <textarea
        class="ta"
        aria-label={PREFIXES.kinds[kind]}
        placeholder={PREFIXES.examples[kind]}
        spellcheck={false}
        value={text}
        onInput={(event) => {
          setText(event.currentTarget.value);
        }}
      />
      {fault === null ? null : (
        <p class="fault" role="alert">
          {fault}
        </p>
      )}
      <div class="bar">
        <button type="submit" class="btn primary" disabled={isAsking}>
          {isAsking ? PREFIXES.looking : PREFIXES.lookUp}
        </button>
        <span class="faint">{PREFIXES.privacy}</span>
      </div>
    </form>
  );
}

function Answer({ result }: { readonly result: Result }): ComponentChildren {
  if (result.kind === "none")
    return (
      <Panel
        title={PREFIXES.answer}
        isReady
        empty={
          hasData.value && fleetSummary.value.engines.length === 0 ? PREFIXES.noEngines : PREFIXES.before
        }
      />
    );
  if (result.kind === "asking") return <Panel title={PREFIXES.looking} isReady={false} />;
  if (result.kind === "failed") return <Panel title={PREFIXES.answer} isReady failure={result.failure} />;
  const { answer, seconds, body } = result;
  const ranks = Object.values(answer.ranks).reduce((a, b) => a + b, 0);
  const holders = answer.matches.filter(({ matched_tokens }) => matched_tokens > 0);
  const title =
    ranks === 0
      ? PREFIXES.noRank
      : holders.length === 0
        ? PREFIXES.unheld
        : PREFIXES.holders(count(holders.length), count(ranks), holders.length);
  const note = noteOf(answer, holders);
  return (
    <Panel title={title} isReady aside={PREFIXES.took(textOf(milliseconds(seconds)))}>
      <Facts answer={answer} holders={holders} />
      {holders.length === 0 ? null : <Bars answer={answer} holders={holders} />}
      <p
        class={`note answer-note ${answer.decision === "exact" ? "good" : answer.decision === "fallback" ? "bad" : ""}`}
      >
        <Rich text={note} /> {answer.reason === null ? null : <Code code={answer.reason} section="lookups" />}
      </p>
      <div class="foot">
        <CopyCurl body={body} />
        <span>{holders.some(({ trust }) => trust !== "exact") ? PREFIXES.faded : ""}</span>
      </div>
    </Panel>
  );
}

function noteOf(answer: MatchAnswer, holders: readonly WorkerMatch[]): string {
  const [best] = holders;
  return [
    answer.reason === null ? "" : (PREFIXES.reasons[answer.reason] ?? ""),
    best === undefined ? "" : PREFIXES.saves(count(best.reusable_tokens), best.worker),
    PREFIXES.decisions[answer.decision],
  ]
    .filter((part) => part !== "")
    .join(" ");
}

function Facts({
  answer,
  holders,
}: {
  readonly answer: MatchAnswer;
  readonly holders: readonly WorkerMatch[];
}): ComponentChildren {
  const blocks = blocksOf(answer);
  const [best] = holders;
  return (
    <div class="facts">
      {answer.block_size === null ? null : (
        <span>
          <Rich text={PREFIXES.blocksOf(count(blocks), count(answer.block_size))} />
        </span>
      )}
      <span>
        {PREFIXES.decision} <Tag word={answer.decision} />
      </span>
      {best === undefined ? null : (
        <span>
          <Rich
            text={PREFIXES.best(
              count(best.matched_blocks),
              textOf(percent(blocks === 0 ? null : Math.min(1, best.matched_blocks / blocks))),
            )}
          />
        </span>
      )}
    </div>
  );
}

function Bars({
  answer,
  holders,
}: {
  readonly answer: MatchAnswer;
  readonly holders: readonly WorkerMatch[];
}): ComponentChildren {
  const blocks = Math.max(1, blocksOf(answer));
  const tiers = TIERS.filter((tier) => holders.some((match) => match.tiers[tier] > 0));
  const tick = (i: number): number => Math.round((blocks * i) / TICKS);
  const tokens = answer.block_size === null ? null : blocks * answer.block_size;
  return (
    <>
      <div class="who">
        {holders.map((match) => (
          <Bar key={`${match.worker} ${match.dp_rank}`} match={match} blocks={blocks} />
        ))}
        <span class="spacer" />
        <span class="spacer" />
        <span class="ruler ruler-row" aria-hidden="true">
          {Array.from({ length: TICKS + 1 }, (_, i) => (
            <span key={i}>{count(tick(i))}</span>
          ))}
        </span>
        <span class="faint num">{PREFIXES.blocks}</span>
        {tokens === null ? null : (
          <>
            <span class="spacer" />
            <span class="spacer" />
            <span class="ruler ruler-row" aria-hidden="true">
              {Array.from({ length: TICKS + 1 }, (_, i) => (
                <span key={i}>{count(tick(i) * (answer.block_size ?? 0))}</span>
              ))}
            </span>
            <span class="faint num">{PREFIXES.tokens}</span>
          </>
        )}
      </div>
      <div class="legend">
        {tiers.map((tier) => (
          <span key={tier}>
            <i class={tier} />
            {PREFIXES.tiers[tier]}
          </span>
        ))}
        <span>
          <i style={{ color: "var(--grid)" }} />
          {PREFIXES.tiers.computed}
        </span>
      </div>
    </>
  );
}

function Bar({ match, blocks }: { readonly match: WorkerMatch; readonly blocks: number }): ComponentChildren {
  const { worker, dp_rank, trust, matched_blocks, tiers } = match;
  const share = percent(Math.min(1, matched_blocks / blocks));
  let x = 0;
  return (
    <>
      <a class="mono plain name" href={`#/engines?open=${encodeURIComponent(worker)}`} title={worker}>
        {worker}
        {dp_rank === 0 ? "" : `/${dp_rank}`}
      </a>
      <Tag word={trust} />
      <svg class="track" viewBox={`0 0 ${TRACK} 16`} preserveAspectRatio="none" aria-hidden="true">
        <rect class="rest" width={TRACK} height="16" />
        <g class={trust === "exact" ? "" : "faded"}>
          {TIERS.map((tier) => {
            const at = x;
            const width = (Math.min(tiers[tier], blocks) / blocks) * TRACK;
            x += width;
            return width === 0 ? null : <rect key={tier} class={tier} x={at} width={width} height="16" />;
          })}
        </g>
      </svg>
      <span class="num">
        <b>{count(matched_blocks)}</b> <span class="faint">{textOf(share)}</span>
      </span>
    </>
  );
}

function CopyCurl({ body }: { readonly body: MatchBody }): ComponentChildren {
  const [isCopied, setCopied] = useState(false);
  return (
    <button
      type="button"
      class="link"
      onClick={() => {
        void navigator.clipboard.writeText(curlOf(apiUrl("match"), body, token.value !== null)).then(() => {
          setCopied(true);
          setTimeout(() => {
            setCopied(false);
          }, COPIED_MS);
        });
      }}
    >
      {isCopied ? PREFIXES.copied : PREFIXES.copyCurl}
    </button>
  );
}

const PICKER_COLUMNS = ["cost", "held", "fresh", "running", "pending"] as const;
const SPARE_COLUMNS: ReadonlySet<string> = new Set(["running", "pending"]);

function Pick({ pick }: { readonly pick: PickExplanation | ApiError }): ComponentChildren {
  const titles = PREFIXES.pickerColumns;
  if (pick instanceof ApiError) return <Panel title={PREFIXES.picker} isReady failure={pick} />;
  return (
    <Panel
      title={PREFIXES.picker}
      isReady
      aside={PREFIXES.pickerUnit}
      empty={pick.endpoints.length === 0 ? pick.reason : null}
    >
      {/* A box that scrolls takes the keyboard. */}
      <div class="scroll" tabIndex={0} role="region" aria-label={PREFIXES.picker}>
        <table>
          <thead>
            <tr>
              <th scope="col">{titles.endpoint}</th>
              {PICKER_COLUMNS.map((name) => (
                <th key={name} scope="col" class={`num ${SPARE_COLUMNS.has(name) ? "spare" : ""}`}>
                  {titles[name]}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {pick.endpoints.map(({ endpoint, worker, trust, cost, terms }) => {
              const { held_tokens: held, fresh_tokens: fresh, running, pending } = terms;
              const values = { cost, held, fresh, running, pending };
              return (
                <tr key={endpoint}>
                  <td>
                    <span class="mono">{worker}</span> <span class="faint mono spare">{endpoint}</span>{" "}
                    <Tag word={trust} />
                  </td>
                  {PICKER_COLUMNS.map((name) => (
                    <td key={name} class={`num ${SPARE_COLUMNS.has(name) ? "spare" : ""}`}>
                      {textOf(measure(values[name]))}
                    </td>
                  ))}
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}
