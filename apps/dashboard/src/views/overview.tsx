/** The overview: is it well, who is affected, since when, and what happened. */
import type { ComponentChildren } from "preact";
import { useRef } from "preact/hooks";

import { linkTo } from "../page/route.ts";
import {
  connectionState,
  fleet,
  fleetSummary,
  followStream,
  hasData,
  hasFeature,
  history,
  now,
  range,
  reconnect,
  staleness,
} from "../page/state.ts";
import { ChartPanel } from "../parts/chart-panel.tsx";
import type { Mark } from "../parts/chart-rows.ts";
import { Loss } from "../parts/frame.tsx";
import { HourBar, useHours } from "../parts/last-hour.tsx";
import { isLoginOpen } from "../parts/login.tsx";
import { Panel, STALE_MS } from "../parts/panel.tsx";
import { Rich } from "../parts/rich.tsx";
import { Spark } from "../parts/spark.tsx";
import { Dot, Tag, toneOf } from "../parts/tag.tsx";
import { CELLS_MAX, TrustMap } from "../parts/trust-map.tsx";
import type { Alert, HealthCheck, Totals } from "../stream/stream-messages.ts";
import { FRAME, PANELS } from "../texts/frame.ts";
import { OVERVIEW } from "../texts/overview.ts";
import { compareWorst, isUnreachable, needsAttention } from "../verdict/fleet-summary.ts";
import { toneOfUse } from "../verdict/memory-use.ts";
import { type Step, verdictOf } from "../verdict/verdict.ts";
import {
  bytes,
  count,
  duration,
  type Figure,
  measure,
  milliseconds,
  percent,
  textOf,
  timeOfDay,
  UNKNOWN,
  utc,
} from "../words.ts";

/** Engines listed as needing attention. */
const ATTENTION_MAX = 6;
/** Alerts listed here; the view of alerts has all of them. */
const ALERTS_MAX = 8;
const RECENT_MAX = 20;
const OBJECTIVE_MS = 5;
/** Shares of exact engines: what is normal, and what is far from it. */
const EXACT_NORMAL = 0.995;
const EXACT_LOW = 0.9;
/** Latencies that differ by more are drawn on a log scale. */
const LOG_RATIO = 30;
const MODEL_COLORS = ["--c1", "--c2", "--c3", "--c4"] as const;

/** The view. */
export function Overview(): ComponentChildren {
  return (
    <>
      <Headline />
      <KeyFigures />
      <div class="cols">
        <div class="stack">
          <Trust />
          <Charts />
          <Recent />
        </div>
        <aside class="stack">
          <div class="stack urgent">
            <Alerts />
            <Attention />
            <HealthChecks />
          </div>
        </aside>
      </div>
    </>
  );
}

function Headline(): ComponentChildren {
  followStream();
  const verdict = verdictOf({
    connection: connectionState.value,
    hasData: hasData.value,
    fleet: fleetSummary.value,
    totals: fleet.totals,
    health: fleet.health,
    alerts: fleet.alerts,
  });
  const { kind } = connectionState.value;
  const needing = fleetSummary.value.engines.filter(needsAttention).length;
  return (
    <section class={`panel verdict ${verdict.tone}`}>
      <div>
        <h1>
          {/* A figure that changes each second is not announced, nor is a countdown. */}
          <span aria-live="polite">{verdict.announced}</span>
          {verdict.title.slice(verdict.announced.length)}
        </h1>
        {kind === "waiting" ? (
          <p>
            <Loss />
          </p>
        ) : null}
        {verdict.text === "" ? null : (
          <p>
            {kind === "paused" ? FRAME.pausedNote(timeOfDay(fleet.at)) : ""} <Rich text={verdict.text} />
          </p>
        )}
      </div>
      {needing === 0 && verdict.step === null ? null : (
        <div class="acts">
          {verdict.step === null ? null : <FirstStep step={verdict.step} />}
          {needing === 0 ? null : (
            <a class="btn" href={linkTo("engines")}>
              {OVERVIEW.attention(needing)}
            </a>
          )}
        </div>
      )}
    </section>
  );
}

function FirstStep({ step }: { readonly step: Step }): ComponentChildren {
  if (step.kind === "runbook")
    return (
      <a class="btn" href={step.address} target="_blank" rel="noopener noreferrer">
        {OVERVIEW.runbook}
      </a>
    );
  if (step.kind === "sources")
    return (
      <a class="btn" href={linkTo("system")}>
        {OVERVIEW.sources}
      </a>
    );
  const isLogin = step.kind === "log_in";
  return (
    <button
      type="button"
      class="btn"
      onClick={() => {
        if (isLogin) isLoginOpen.value = true;
        else reconnect();
      }}
    >
      {isLogin ? FRAME.logIn : FRAME.retryNow}
    </button>
  );
}

/** The values of a series within the range. */
function recent(key: string): readonly (number | null)[] {
  return history.values(key).slice(history.firstWithin(range.value));
}

function total(...keys: readonly string[]): readonly (number | null)[] {
  const columns = keys.map(recent);
  return (columns[0] ?? []).map((_, i) => {
    const known = columns.map((column) => column[i] ?? null).filter((value) => value !== null);
    return known.length === 0 ? null : known.reduce((sum, value) => sum + value, 0);
  });
}

function KeyFigures(): ComponentChildren {
  followStream();
  const { totals } = fleet;
  const { engines, byTrust } = fleetSummary.value;
  const lookups = sum(Object.values(totals.lookups ?? {}));
  const events = sum(Object.values(totals.events ?? {}));
  const exact = engines.length === 0 ? null : byTrust.exact / engines.length;
  const isOld = staleness.value !== null && staleness.value > STALE_MS;
  return (
    <section class={`kpis ${isOld ? "is-stale" : ""}`}>
      <KeyFigure
        label={OVERVIEW.exactStreams}
        figure={percent(exact)}
        below={OVERVIEW.exactOf(count(byTrust.exact), count(engines.length))}
        tone={toneOfLow(exact, EXACT_NORMAL, EXACT_LOW)}
        values={recent("exact_share")}
        edges={[0, 1]}
        color="--c2"
      />
      <KeyFigure
        label={OVERVIEW.lookups}
        figure={perSecond(lookups)}
        below={decisionsText(totals.lookups ?? {}, lookups)}
        values={total("lookups.exact", "lookups.degraded", "lookups.fallback")}
        color="--c1"
      />
      <KeyFigure
        label={OVERVIEW.lookupP99}
        figure={milliseconds(totals.p99)}
        below={OVERVIEW.objective(textOf(milliseconds(totals.p50)))}
        tone={(totals.p99 ?? 0) * 1000 > OBJECTIVE_MS ? "stale" : ""}
        values={recent("lookup_p99")}
        color="--c1"
      />
      <KeyFigure
        label={OVERVIEW.eventsApplied}
        figure={perSecond(events)}
        below={OVERVIEW.lag(textOf(milliseconds(totals.received_to_applied_p99)))}
        values={total("events_applied.stored", "events_applied.removed", "events_applied.cleared")}
        color="--c2"
      />
      <KeyFigure
        label={OVERVIEW.hitRate}
        figure={percent(mean(Object.values(totals.hit ?? {})))}
        below={OVERVIEW.hitOf}
        values={meanOf(hitKeys())}
        edges={[0, 1]}
        color="--c3"
      />
      <MemoryFigure {...totals} />
    </section>
  );
}

function MemoryFigure({ memory, mappings }: Totals): ComponentChildren {
  // By itself: it is not drawn again with the same totals, and the history comes after them.
  followStream();
  const [used, limit] = [memory?.used ?? null, memory?.limit ?? null];
  const share = used === null || limit === null || limit === 0 ? null : used / limit;
  return (
    <KeyFigure
      label={OVERVIEW.memory}
      figure={bytes(used)}
      below={OVERVIEW.memoryOf(textOf(percent(share)), textOf(bytes(limit)), textOf(measure(mappings)))}
      tone={toneOfUse(used ?? 0, limit ?? 0)}
      values={recent("memory_used")}
      color="--c4"
    />
  );
}

/** The tone of a share that should be high. */
function toneOfLow(share: number | null, normal: number, low: number): string {
  if (share === null || share >= normal) return "";
  return share < low ? "bad" : "stale";
}

/** The decisions that are not exact, each with its share. */
function decisionsText(lookups: Totals["lookups"], all: number | null): string {
  if (all === null || all === 0) return OVERVIEW.noLookups;
  const parts = (["degraded", "fallback"] as const)
    .map((name) => [name, lookups?.[name] ?? 0] as const)
    .filter(([, rate]) => rate > 0)
    .map(([name, rate]) => `${textOf(percent(rate / all))} ${name}`);
  return parts.length === 0 ? OVERVIEW.allExact : parts.join(", ");
}

function perSecond(value: number | null): Figure {
  const [number, unit] = measure(value);
  return value === null ? [number, ""] : [number, `${unit}/s`];
}

function sum(values: readonly (number | null | undefined)[]): number | null {
  const known = values.filter((value) => value !== null && value !== undefined);
  return known.length === 0 ? null : known.reduce((a, b) => a + b, 0);
}

function mean(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : known.reduce((a, b) => a + b, 0) / known.length;
}

function hitKeys(): string[] {
  return [...history.series.keys()].filter((key) => key.startsWith("hit_rate{"));
}

function meanOf(keys: readonly string[]): readonly (number | null)[] {
  const columns = keys.map(recent);
  return (columns[0] ?? []).map((_, i) => mean(columns.map((column) => column[i] ?? null)));
}

function KeyFigure(props: {
  readonly label: string;
  readonly figure: Figure;
  readonly below: string;
  readonly values: readonly (number | null)[];
  readonly color: string;
  readonly edges?: readonly [number, number];
  /** Class of the color of a figure that is not normal. */
  readonly tone?: string;
}): ComponentChildren {
  const [value, unit] = props.figure;
  return (
    <div class={`panel kpi ${props.tone ?? ""}`} role="group" aria-label={props.label}>
      <div class="lab">{props.label}</div>
      <div class="val">
        {hasData.value ? value : UNKNOWN}
        <small>{hasData.value ? unit : ""}</small>
      </div>
      <div class="sub" title={hasData.value ? props.below : ""}>
        {hasData.value ? props.below : ""}
      </div>
      <Spark
        values={props.values}
        color={props.color}
        {...(props.edges === undefined ? {} : { edges: props.edges })}
      />
    </div>
  );
}

function Trust(): ComponentChildren {
  followStream();
  const { engines, models, byTrust, unreachable } = fleetSummary.value;
  let left = CELLS_MAX;
  return (
    <Panel
      title={OVERVIEW.trustMap}
      empty={engines.length === 0 ? PANELS.noEngines : null}
      aside={
        engines.length === 0 ? null : (
          <>
            {(["exact", "partial", "stale", "unknown"] as const).map((trust) =>
              trust !== "exact" && byTrust[trust] === 0 ? null : (
                <span key={trust}>
                  <Dot tone={toneOf(trust)} /> {trust} {count(byTrust[trust])}
                </span>
              ),
            )}
            {unreachable === 0 ? null : (
              <span>
                <Dot tone="bad" /> {OVERVIEW.unreachable} {count(unreachable)}
              </span>
            )}
          </>
        )
      }
    >
      <div class="fleet">
        {models.map((model) => {
          const cells = Math.min(left, model.engines.length);
          left -= cells;
          return cells === 0 ? null : <TrustMap key={model.model} model={model} cells={cells} />;
        })}
        {engines.length > CELLS_MAX ? (
          <p class="faint">{OVERVIEW.mapMore(count(engines.length - CELLS_MAX))}</p>
        ) : null}
      </div>
    </Panel>
  );
}

/** Color of the mark of each kind; others have none. */
const MARKED: Readonly<Record<string, string>> = {
  gap: "--stale",
  trust: "--stale",
  replay: "--exact",
  restart: "--partial",
  disconnect: "--bad",
  reconnect: "--exact",
};
const MARKS_MAX = 12;

function marksWithin(start: number): Mark[] {
  return fleet.happenings
    .filter(({ at, kind }) => MARKED[kind] !== undefined && at / 1000 >= start)
    .slice(0, MARKS_MAX)
    .map(({ at, kind, engine, text }) => ({
      time: at / 1000,
      label: engine === null || engine === undefined ? text : `${engine}: ${text}`,
      color: MARKED[kind] ?? "--stale",
    }));
}

function rate(value: number): string {
  return textOf(measure(value)).replace(" ", "");
}

/** The four charts, over the same times. */
function Charts(): ComponentChildren {
  followStream();
  const start = history.firstWithin(range.value);
  const times = history.times.slice(start);
  const marks = marksWithin(times[0] ?? 0);
  const common = { times, seconds: range.value, marks, breaks: history.breaks(start) };
  const latency = (key: string): readonly (number | null)[] =>
    recent(key).map((value) => (value === null ? null : value * 1000));
  const p99 = latency("lookup_p99");
  const p50 = latency("lookup_p50");
  const isLog = isWide([...p99, ...p50]);
  return (
    <div class="two">
      <ChartPanel
        title={OVERVIEW.eventsApplied}
        unit={OVERVIEW.perSecondByType}
        empty={OVERVIEW.noEvents}
        {...common}
        // One chart names the mark: four times the same words would hide the lines.
        isLabelled
        isStacked
        isEmptyAtZero
        format={rate}
        series={[
          { label: "BlockRemoved", color: "--c4", values: recent("events_applied.removed") },
          { label: "BlockStored", color: "--c2", values: recent("events_applied.stored") },
          { label: "AllBlocksCleared", color: "--c1", values: recent("events_applied.cleared") },
        ]}
      />
      <ChartPanel
        title={OVERVIEW.latency}
        unit={isLog ? OVERVIEW.msLog : OVERVIEW.ms}
        empty={OVERVIEW.noLatency}
        {...common}
        isLog={isLog}
        format={(value) => textOf(measure(value))}
        objective={{ value: OBJECTIVE_MS, label: OVERVIEW.objectiveLine }}
        series={[
          { label: OVERVIEW.p99, color: "--c1", values: p99 },
          { label: OVERVIEW.p50, color: "--c2", values: p50, isDashed: true },
        ]}
      />
      <ChartPanel
        title={OVERVIEW.byDecision}
        unit={OVERVIEW.perSecond}
        empty={OVERVIEW.noDecisions}
        {...common}
        isStacked
        isEmptyAtZero
        format={rate}
        series={[
          { label: "exact", color: "--c2", values: recent("lookups.exact") },
          { label: "degraded", color: "--c4", values: recent("lookups.degraded") },
          { label: "fallback", color: "--bad", values: recent("lookups.fallback") },
        ]}
      />
      <ChartPanel
        title={OVERVIEW.hitRate}
        unit={OVERVIEW.hitByModel}
        empty={OVERVIEW.noHits}
        {...common}
        top={1}
        format={(value) => textOf(percent(value))}
        series={hitKeys()
          .slice(0, MODEL_COLORS.length)
          .map((key, i) => ({
            label: key.slice("hit_rate{".length, -1).split("/").at(-1) ?? "",
            color: MODEL_COLORS[i] ?? "--c1",
            values: recent(key),
          }))}
      />
    </div>
  );
}

function isWide(values: readonly (number | null)[]): boolean {
  const known = values.filter((value) => value !== null && value > 0) as number[];
  return known.length > 0 && Math.max(...known) / Math.min(...known) > LOG_RATIO;
}

function Recent(): ComponentChildren {
  followStream();
  const shown = fleet.happenings.slice(0, RECENT_MAX);
  return (
    <Panel title={OVERVIEW.recent} empty={shown.length === 0 ? OVERVIEW.nothingRecent : null}>
      <ul class="list hap">
        {shown.map(({ at, kind, engine, text }, i) => (
          <li key={`${at} ${engine ?? ""} ${i}`}>
            <Dot tone={toneOfHappening(kind)} />
            <span>
              <span class="mono faint" title={utc(at)}>
                {timeOfDay(at)}
              </span>{" "}
              {engine === null || engine === undefined ? null : (
                <a class="mono plain" href={linkTo("engines", { open: engine })}>
                  {engine}
                </a>
              )}{" "}
              <span class="muted">{text}</span>
            </span>
          </li>
        ))}
      </ul>
    </Panel>
  );
}

function toneOfHappening(kind: string): string {
  return MARKED[kind]?.slice(2) ?? "";
}

function Alerts(): ComponentChildren {
  followStream();
  // A daemon that does not evaluate alerts has no panel of them.
  if (!hasFeature("alerts") || fleet.alerts === null) return null;
  const alerts = (fleet.alerts.alerts ?? []).filter(({ state }) => state === "firing" || state === "pending");
  return (
    <Panel
      title={OVERVIEW.alerts}
      aside={<a href={linkTo("alerts")}>{OVERVIEW.allAlerts}</a>}
      empty={alerts.length === 0 ? OVERVIEW.noAlerts : null}
    >
      <ul class="list">
        {alerts.slice(0, ALERTS_MAX).map((alert) => (
          <AlertRow key={`${alert.name} ${JSON.stringify(alert.labels ?? {})}`} {...alert} />
        ))}
      </ul>
      {alerts.length > ALERTS_MAX ? (
        <p class="empty">{OVERVIEW.moreAlerts(alerts.length - ALERTS_MAX)}</p>
      ) : null}
    </Panel>
  );
}

function AlertRow({ name, state, severity, labels, summary, since }: Alert): ComponentChildren {
  return (
    <li>
      <Dot tone={state === "pending" ? "" : toneOf(severity ?? "")} />
      <span>
        <b>{name}</b> <span class="muted">{labels?.["pod"] ?? labels?.["model"] ?? ""}</span>
        <br />
        <span class="muted">{summary ?? ""}</span>
      </span>
      <span class="faint">
        {state === "pending" || typeof since !== "number"
          ? state
          : textOf(duration(Math.max(0, now.value / 1000 - since)))}
      </span>
    </li>
  );
}

function Attention(): ComponentChildren {
  followStream();
  const { engines } = fleetSummary.value;
  const worst = engines
    .filter(needsAttention)
    .sort((a, b) => compareWorst(a.worst, b.worst))
    .slice(0, ATTENTION_MAX);
  const slots = useRef<readonly number[]>([]);
  slots.current = worst.map(({ worst: row }) => row.slot);
  const hours = useHours(slots);
  return (
    <Panel
      title={OVERVIEW.needsAttention}
      aside={<a href={linkTo("engines")}>{OVERVIEW.allEngines}</a>}
      empty={
        engines.length === 0 ? OVERVIEW.noEngineKnown : worst.length === 0 ? OVERVIEW.nothingNeeds : null
      }
    >
      <ul class="list">
        {worst.map(({ id, worst: row }) => (
          <li key={id}>
            <Dot tone={isUnreachable(row) ? "bad" : toneOf(row.trust)} />
            <span>
              <a class="mono plain" href={linkTo("engines", { open: id })}>
                {id}
              </a>{" "}
              <Tag word={isUnreachable(row) ? "unreachable" : row.trust} />
              <br />
              <span class="muted">{row.reason ?? row.state}</span>
              {hasFeature("engine") ? <HourBar row={row} hours={hours} /> : null}
            </span>
            <span class="faint" title={utc(row.since)}>
              {row.since === null ? row.state : textOf(duration((now.value - row.since) / 1000))}
            </span>
          </li>
        ))}
      </ul>
    </Panel>
  );
}

function HealthChecks(): ComponentChildren {
  followStream();
  const isHealthy = ({ status }: HealthCheck): boolean => status === "healthy";
  const checks = (fleet.health?.checks ?? []).toSorted((a, b) => Number(isHealthy(a)) - Number(isHealthy(b)));
  const healthy = checks.filter(isHealthy).length;
  return (
    <Panel
      title={OVERVIEW.health}
      aside={checks.length === 0 ? null : OVERVIEW.healthy(healthy, checks.length)}
      empty={checks.length === 0 ? OVERVIEW.noChecks : null}
    >
      <ul class="list health">
        {checks.map(({ name, status, message }) => (
          <li key={name} class={status === "healthy" ? "" : "is-low"}>
            <Dot tone={toneOf(status)} />
            <span>
              {name}
              {status === "healthy" ? null : (
                <>
                  {" "}
                  <Tag word={status} />
                </>
              )}
            </span>
            <span class="muted message" title={message}>
              {message}
            </span>
          </li>
        ))}
      </ul>
    </Panel>
  );
}
