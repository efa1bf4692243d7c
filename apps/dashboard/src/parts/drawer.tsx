/**
 * Everything about one engine. Most is in the stream; its timeline, gaps, blocks by tier and drops by reason come from its own route.
 *
 * The route is asked when the drawer opens and again while it stays open, at a bounded rate.
 */
import type { ComponentChildren } from "preact";
import { useRef, useState } from "preact/hooks";

import type { EngineDetails, RankDetails } from "@kvsync/client";

import type { ApiError } from "../page/api.ts";
import { linkTo } from "../page/route.ts";
import { now } from "../page/state.ts";
import type { RankRow } from "../stream/fleet-store.ts";
import { ENGINES } from "../texts/engines.ts";
import { type EngineSummary, isUnreachable } from "../verdict/fleet-summary.ts";
import { count, duration, measure, percent, textOf, timeOfDay, utc } from "../words.ts";
import { useAddresses } from "./addresses.ts";
import { BarRow } from "./bar-row.tsx";
import {
  type Addresses,
  DROPS_RUNBOOK,
  errorsUrl,
  grafanaUrl,
  runbookFor,
  runbookUrl,
} from "./engine-links.ts";
import { ErrorCode, failureText } from "./panel.tsx";
import { usePolled } from "./polled.ts";
import { Outward } from "./outward.tsx";
import { Rich } from "./rich.tsx";
import { Spark } from "./spark.tsx";
import { Tag } from "./tag.tsx";
import { Timeline } from "./timeline.tsx";

/** How often the route is asked while a drawer is open. */
const REFRESH_MS = 5000;
/** The latest gaps and restarts: the daemon keeps 32. */
const GAPS_SHOWN_MAX = 8;

/** The drawer. */
export function EngineDrawer({
  id,
  engine,
  onClose,
}: {
  readonly id: string;
  /** Null when the stream has no such engine. */
  readonly engine: EngineSummary | null;
  readonly onClose: () => void;
}): ComponentChildren {
  const { answer: details, failure } = usePolled<EngineDetails>(
    `engines/${encodeURIComponent(id)}`,
    REFRESH_MS,
  );
  const addresses = useAddresses();
  const button = useRef<HTMLButtonElement>(null);
  const [rank, setRank] = useState<number | null>(null);
  const row = engine?.ranks.find((one) => one.rank === rank) ?? engine?.worst ?? null;
  const own = details?.ranks.find(({ dp_rank }) => dp_rank === row?.rank) ?? null;
  return (
    <aside class="panel drawer" aria-label={id}>
      <div class="hd">
        <header>
          <h2 class="mono">{id}</h2>
          {row === null ? null : (
            <>
              <Tag word={row.trust} />
              <Tag word={row.state} />
            </>
          )}
          <span class="right">
            <button ref={button} type="button" class="btn icon" aria-label={ENGINES.close} onClick={onClose}>
              ✕
            </button>
          </span>
        </header>
        {row === null ? null : (
          <span class="muted">
            <span class="mono">{row.model}</span> · {row.source}
            {row.endpoint === "" ? null : (
              <>
                {" "}
                · <span class="mono">{row.endpoint}</span>
              </>
            )}
          </span>
        )}
        {engine === null || engine.ranks.length < 2 ? null : (
          <div class="seg" role="group">
            {engine.ranks.map((one) => (
              <button
                key={one.rank}
                type="button"
                aria-pressed={one === row}
                onClick={() => {
                  setRank(one.rank);
                }}
              >
                {ENGINES.rank(one.rank)}
              </button>
            ))}
          </div>
        )}
      </div>
      {row === null ? (
        <section>
          <p class="muted">{ENGINES.gone}</p>
        </section>
      ) : (
        <>
          <Sentence row={row} details={own} />
          <Position row={row} details={own} />
          <History details={own} failure={failure} row={row} addresses={addresses} />
          <Links id={id} row={row} addresses={addresses} />
        </>
      )}
    </aside>
  );
}

/** The state of a rank in a sentence. */
function Sentence({
  row,
  details,
}: {
  readonly row: RankRow;
  readonly details: RankDetails | null;
}): ComponentChildren {
  const isFar = isUnreachable(row);
  const tone = row.trust === "exact" && !isFar ? "good" : isFar ? "bad" : "";
  const isLoss = row.trust !== "exact" && row.reason === "gap";
  const loss = lossText(row, details);
  const parts = [
    isFar ? ENGINES.unreachable : "",
    // The cause comes before what it means.
    isLoss ? loss : "",
    row.trust === "exact" ? (isFar ? "" : ENGINES.exact) : ENGINES.trusts[row.trust],
    row.reason === null || row.trust === "exact" ? "" : ENGINES.why(row.reason),
    isLoss ? "" : loss,
  ];
  return (
    <section>
      <p class={`note ${tone}`}>
        <Rich text={parts.filter((part) => part !== "").join(" ")} />
      </p>
    </section>
  );
}

/** What was lost, and whether it came back. */
function lossText(row: RankRow, details: RankDetails | null): string {
  if (row.missed === 0) return "";
  const last = details?.recent_gaps.at(-1);
  if (last === undefined) return ENGINES.lostMessages(count(row.missed));
  const at = timeOfDay(Date.parse(last.at));
  const messages = count(last.messages);
  if (last.outcome === null) return ENGINES.lostNow(messages, at);
  return last.outcome === "completed"
    ? ENGINES.lostAndFound(messages, at)
    : ENGINES.lostForGood(messages, at);
}

/** Whether the index begins behind a message: the engine's history did not have it any more. */
function isBeforeHistory(message: number, details: RankDetails | null): boolean {
  const from = details?.history_from_sequence_number ?? null;
  return from !== null && from > message;
}

function Position({
  row,
  details,
}: {
  readonly row: RankRow;
  readonly details: RankDetails | null;
}): ComponentChildren {
  const age = row.eventAt === null ? null : Math.max(0, (now.value - row.eventAt) / 1000);
  return (
    <section>
      <h3>{ENGINES.position}</h3>
      <dl>
        <dt>{ENGINES.sequence}</dt>
        <dd class="mono">{count(row.seq)}</dd>
        <dt>{ENGINES.lastEvent}</dt>
        <dd>{age === null ? ENGINES.never : age < 1 ? ENGINES.now : ENGINES.ago(textOf(duration(age)))}</dd>
        <dt>{ENGINES.historyFrom}</dt>
        <dd class="mono">{count(details?.history_from_sequence_number)}</dd>
        <dt>{ENGINES.applied}</dt>
        <dd>{count(details?.messages_applied)}</dd>
        <dt>{ENGINES.gapsCount}</dt>
        <dd>{count(row.gaps)}</dd>
        <dt>{ENGINES.missed}</dt>
        <dd>{count(row.missed)}</dd>
        <dt>{ENGINES.replays}</dt>
        <dd>{count(row.replays)}</dd>
        <dt>{ENGINES.restarts}</dt>
        <dd>{count(row.restarts)}</dd>
      </dl>
    </section>
  );
}

function Outcome({
  outcome,
  seconds,
  isGone,
}: {
  readonly outcome: RankDetails["recent_gaps"][number]["outcome"];
  readonly seconds: number | null;
  /** The engine's history no longer had the messages. */
  readonly isGone: boolean;
}): ComponentChildren {
  const tone = outcome === null ? "stale" : outcome === "completed" && !isGone ? "exact" : "bad";
  const took = seconds === null ? "" : textOf(duration(seconds));
  return <span class={`tag ${tone}`}>{isGone ? ENGINES.notInHistory : ENGINES.outcome(outcome, took)}</span>;
}

/** What only the engine's own route has. */
function History({
  details,
  failure,
  row,
  addresses,
}: {
  readonly details: RankDetails | null;
  readonly failure: ApiError | null;
  readonly row: RankRow;
  readonly addresses: Addresses;
}): ComponentChildren {
  return (
    <>
      {failure === null ? null : (
        <section>
          <p class="muted" role="alert">
            {failureText(failure)} <ErrorCode failure={failure} />
          </p>
        </section>
      )}
      {details === null ? null : (
        <section>
          <h3>
            <span>{ENGINES.timeline}</span>
            <span class="faint">
              {row.exactHour === null ? "" : ENGINES.exactFor(textOf(percent(row.exactHour)))}
            </span>
          </h3>
          <Timeline entries={details.timeline} end={now.value} />
        </section>
      )}
      {details === null ? null : <Rate values={details.events_per_second} present={row.rate} />}
      {details === null ? null : <Gaps details={details} />}
      <Tiers row={row} details={details} />
      {details === null ? null : <Drops details={details} addresses={addresses} />}
    </>
  );
}

/** Events by the minute. A daemon whose page is off, or an older one, knows none. */
function Rate({
  values = [],
  present,
}: {
  readonly values?: readonly (number | null)[];
  /** The rate that the stream has. */
  readonly present: number | null;
}): ComponentChildren {
  if (values.every((value) => value === null)) return null;
  return (
    <section>
      <h3>
        <span>{ENGINES.rate}</span>
        <span class="faint">{ENGINES.rateNow(textOf(measure(present ?? values.at(-1) ?? null)))}</span>
      </h3>
      <Spark values={values} color="--c2" edges={[0, Math.max(...values.map((value) => value ?? 0))]} />
    </section>
  );
}

function Gaps({ details }: { readonly details: RankDetails }): ComponentChildren {
  const { recent_gaps: gaps, recent_restarts: restarts } = details;
  return (
    <section>
      <h3>
        <span>{ENGINES.gaps}</span>
        <span class="faint">
          {ENGINES.replaysEnded(count(details.replays.completed), count(details.replays.failed))}
        </span>
      </h3>
      {gaps.length === 0 ? (
        <p class="muted">{ENGINES.noGaps}</p>
      ) : (
        <table>
          <tbody>
            {gaps
              .toReversed()
              .slice(0, GAPS_SHOWN_MAX)
              .map(({ at, from, messages, outcome, seconds }) => (
                <tr key={`${at} ${from}`}>
                  <td class="mono" title={utc(Date.parse(at))}>
                    {timeOfDay(Date.parse(at))}
                  </td>
                  <td class="mono muted">{ENGINES.gapFrom(count(from))}</td>
                  <td class="num">{count(messages)}</td>
                  <td class="num">
                    <Outcome
                      outcome={outcome}
                      seconds={seconds}
                      isGone={outcome === "completed" && isBeforeHistory(from, details)}
                    />
                  </td>
                </tr>
              ))}
          </tbody>
        </table>
      )}
      {restarts.length === 0 ? null : (
        <p class="muted">
          {ENGINES.restartedAt(
            restarts
              .toReversed()
              .slice(0, GAPS_SHOWN_MAX)
              .map((at) => timeOfDay(Date.parse(at)))
              .join(", "),
          )}
        </p>
      )}
    </section>
  );
}

const TIERS = ["device", "host", "disk", "remote"] as const;

function Tiers({
  row,
  details,
}: {
  readonly row: RankRow;
  readonly details: RankDetails | null;
}): ComponentChildren {
  const counts = TIERS.map((tier, i) => details?.tiers?.[tier] ?? row.tiers?.[i] ?? null);
  const most = Math.max(1, ...counts.map((blocks) => blocks ?? 0));
  return (
    <section>
      <h3>
        <span>{ENGINES.tiers}</span>
        <span class="faint">{ENGINES.held(count(row.blocks))}</span>
      </h3>
      {counts.every((blocks) => blocks === null) ? (
        <p class="muted">{ENGINES.noTiers}</p>
      ) : (
        TIERS.map((tier, i) => (
          <BarRow
            key={tier}
            name={tier}
            value={counts[i] ?? 0}
            most={most}
            text={count(counts[i])}
            tone={tier}
          />
        ))
      )}
    </section>
  );
}

function Drops({
  details,
  addresses,
}: {
  readonly details: RankDetails;
  readonly addresses: Addresses;
}): ComponentChildren {
  const { dropped_last_hour: lately } = details;
  const rows = Object.entries({ ...details.dropped, ...details.faults }).sort(([, a], [, b]) => b - a);
  const most = Math.max(0, ...rows.map(([, times]) => times));
  return (
    <section>
      <h3>
        <span>{ENGINES.drops}</span>
        <span class="faint">{ENGINES.sinceFollowed}</span>
      </h3>
      {rows.length === 0 ? (
        <p class="muted">{ENGINES.noDrops}</p>
      ) : (
        rows.map(([reason, times]) => (
          <BarRow
            key={reason}
            name={reason}
            value={times}
            most={most}
            text={
              lately !== null && reason in details.dropped
                ? `${count(times)} · ${count(lately[reason] ?? 0)}`
                : count(times)
            }
          />
        ))
      )}
      {rows.length === 0 ? null : (
        <p class="bar">
          <Outward url={errorsUrl(addresses, "drops")} text={ENGINES.reasons} />
          <Outward url={runbookUrl(addresses, DROPS_RUNBOOK)} text={ENGINES.reasonsRunbook} />
        </p>
      )}
    </section>
  );
}

/** Where to look on. */
function Links({
  id,
  row,
  addresses,
}: {
  readonly id: string;
  readonly row: RankRow;
  readonly addresses: Addresses;
}): ComponentChildren {
  const runbook = runbookUrl(addresses, runbookFor(row));
  const grafana = grafanaUrl(addresses, id);
  return (
    <section class="bar">
      <a class="btn" href={linkTo("events", { engine: id, rank: row.rank === 0 ? "" : String(row.rank) })}>
        {ENGINES.liveEvents}
      </a>
      <a class="btn" href={linkTo("logs", { pod: id })}>
        {ENGINES.logs}
      </a>
      <a class="btn" href={linkTo("prefixes")}>
        {ENGINES.prefixes}
      </a>
      <Outward url={runbook} text={ENGINES.runbook} isButton />
      <Outward url={grafana} text={ENGINES.grafana} isButton />
    </section>
  );
}
