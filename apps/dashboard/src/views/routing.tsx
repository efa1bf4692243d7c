/** The endpoint picker: how it decides, whether its predictions come true, and the load of each endpoint. */
import type { ComponentChildren } from "preact";

import { linkTo } from "../page/route.ts";
import { useAddresses } from "../parts/addresses.ts";
import { BarRow } from "../parts/bar-row.tsx";
import { runbookUrl } from "../parts/engine-links.ts";
import { Outward } from "../parts/outward.tsx";
import { Panel } from "../parts/panel.tsx";
import { usePolled } from "../parts/polled.ts";
import { Rich } from "../parts/rich.tsx";
import { ROUTING } from "../texts/routing.ts";
import { count, measure, percent, plural, textOf, UNKNOWN } from "../words.ts";

const REFRESH_MS = 2000;
/** Shares above which something is wrong: those of the alerts PickerPredictionsDiffer and PickerBlind. */
const DIFFERING_MAX = 0.25;
const UNUSED_MAX = 0.5;
/** Runbooks of what can be wrong. */
const RUNBOOKS = {
  differ: "picker-predictions-differ.md",
  blind: "picker-blind.md",
  unready: "picker-not-ready.md",
} as const;
const DECISIONS = ["index", "degraded", "own", "load", "immediate"] as const;
const STATES = ["not_ready", "penalty", "stale"] as const;
const TONES = {
  index: "remote",
  degraded: "remote",
  own: "device",
  load: "disk",
  immediate: "host",
} as const;

interface Endpoint {
  readonly endpoint: string;
  readonly worker: string;
  readonly model: string | null;
  readonly dp_rank: number | null;
  readonly running: number;
  readonly waiting: number;
  readonly pending_tokens: number;
  readonly context_tokens: number;
  readonly capacity_tokens: number;
  readonly foreign_running: number;
}

/** What `GET /api/v1/picker` answers. */
interface PickerReport {
  readonly ready: boolean;
  readonly bookings: number;
  readonly threads: readonly { readonly connections: number; readonly streams: number }[];
  readonly decisions: Readonly<Record<(typeof DECISIONS)[number], number>>;
  readonly reasons: Readonly<Record<string, number>>;
  readonly missing_shards: readonly number[];
  readonly predictions: { readonly agree: number; readonly differ: number };
  readonly predicted_cached_tokens: number;
  readonly reported_cached_tokens: number;
  readonly served_elsewhere: number;
  readonly states: Readonly<Record<"eligible" | (typeof STATES)[number], number>>;
  readonly endpoints: readonly Endpoint[];
}

/** The view. */
export function Routing(): ComponentChildren {
  const { answer, failure, again } = usePolled<PickerReport>("picker", REFRESH_MS);
  if (answer === null && failure?.code === "picker_off") return <Off />;
  if (answer === null)
    return <Panel title={ROUTING.picks} isReady={false} failure={failure} onRetry={again} />;
  return (
    <>
      <Trouble {...answer} />
      <Figures {...answer} />
      <div class="two">
        <Decisions {...answer} />
        <Tokens {...answer} />
      </div>
      <Endpoints {...answer} />
    </>
  );
}

/** What is wrong with the picks, in words; nothing where all is well. */
function Trouble(report: PickerReport): ComponentChildren {
  const { decisions, reasons, predictions, ready } = report;
  const [picks, compared] = [sumOf(decisions), predictions.agree + predictions.differ];
  const differing = compared === 0 ? 0 : predictions.differ / compared;
  const [reason] = Object.entries(reasons).sort(([, a], [, b]) => b - a);
  const unused = picks === 0 ? 0 : decisions.load / picks;
  const isDiffering = differing > DIFFERING_MAX;
  const isBlind = unused > UNUSED_MAX && reason !== undefined;
  const addresses = useAddresses();
  const texts = [
    ready ? "" : ROUTING.unready,
    isDiffering ? ROUTING.differ(textOf(percent(differing))) : "",
    isBlind ? ROUTING.blind(textOf(percent(unused)), reason[0]) : "",
    decisions.immediate > 0 ? ROUTING.refused(count(decisions.immediate)) : "",
  ].filter((text) => text !== "");
  const runbook = isDiffering ? RUNBOOKS.differ : isBlind ? RUNBOOKS.blind : ready ? null : RUNBOOKS.unready;
  return texts.length === 0 ? null : (
    <div class="banner" role="status">
      <span>
        <Rich text={texts.join(" ")} />
      </span>
      <Outward url={runbookUrl(addresses, runbook)} text={ROUTING.runbook} isButton />
    </div>
  );
}

function Off(): ComponentChildren {
  return (
    <Panel title={ROUTING.off} isReady>
      <div class="pad">
        <p>
          <Rich text={ROUTING.offHow} />
        </p>
        <p class="muted">{ROUTING.offWhere}</p>
      </div>
    </Panel>
  );
}

function sumOf(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((a, b) => a + b, 0);
}

function Figures(report: PickerReport): ComponentChildren {
  const { decisions, bookings, threads, predictions, predicted_cached_tokens: predicted } = report;
  const compared = predictions.agree + predictions.differ;
  const streams = threads.reduce((sum, one) => sum + one.streams, 0);
  const delivered = predicted === 0 ? null : report.reported_cached_tokens / predicted;
  const figures = [
    [ROUTING.picks, textOf(measure(sumOf(decisions))), ROUTING.since, ""],
    [
      ROUTING.openPicks,
      count(bookings),
      ROUTING.onThreads(plural(threads.length, "thread"), plural(streams, "gateway stream")),
      "",
    ],
    [
      ROUTING.accuracy,
      textOf(percent(compared === 0 ? null : predictions.agree / compared)),
      compared === 0 ? ROUTING.nothingCompared : ROUTING.compared(count(compared)),
      compared > 0 && predictions.differ / compared > DIFFERING_MAX ? "stale" : "",
    ],
    [
      ROUTING.delivered,
      textOf(percent(delivered)),
      delivered === null ? ROUTING.nothingCompared : ROUTING.ofPredicted,
      delivered !== null && delivered < 1 - DIFFERING_MAX ? "stale" : "",
    ],
  ] as const;
  return (
    <div class="kpis four">
      {figures.map(([label, value, below, tone]) => (
        <section key={label} class={`panel kpi plain ${tone}`}>
          <div class="lab">{label}</div>
          <div class="val">{value}</div>
          <div class="sub" title={below}>
            {below}
          </div>
        </section>
      ))}
    </div>
  );
}

function Decisions({ decisions, reasons, missing_shards: missing }: PickerReport): ComponentChildren {
  const all = sumOf(decisions);
  const most = Math.max(...DECISIONS.map((name) => decisions[name]));
  const why = Object.entries(reasons)
    .filter(([, times]) => times > 0)
    .sort(([, a], [, b]) => b - a);
  return (
    <Panel title={ROUTING.decisions} isReady aside={ROUTING.since} empty={all === 0 ? ROUTING.noPicks : null}>
      <div class="pad">
        {/* A fleet of one daemon has no shard that could be missing. */}
        {DECISIONS.filter((name) => name !== "degraded" || decisions[name] > 0).map((name) => (
          <BarRow
            key={name}
            name={<span title={ROUTING.decisionHelp[name]}>{ROUTING.decisionNames[name]}</span>}
            value={decisions[name]}
            most={most}
            text={count(decisions[name])}
            tone={TONES[name]}
          />
        ))}
        {missing.length === 0 ? null : (
          <p>
            <Rich text={ROUTING.missingShards(missing.map(String))} />
          </p>
        )}
        <h3>{ROUTING.reasons}</h3>
        {why.length === 0 ? <p class="muted">{ROUTING.noReasons}</p> : null}
        {why.map(([name, times]) => (
          <BarRow key={name} name={name} value={times} most={why[0]?.[1] ?? 0} text={count(times)} />
        ))}
      </div>
    </Panel>
  );
}

function Tokens(report: PickerReport): ComponentChildren {
  const { predicted_cached_tokens: predicted, reported_cached_tokens: reported, predictions } = report;
  const most = Math.max(predicted, reported);
  const compared = predictions.agree + predictions.differ;
  return (
    <Panel
      title={ROUTING.tokens}
      isReady
      aside={ROUTING.tokensAside}
      empty={compared === 0 ? ROUTING.noTokens : null}
    >
      <div class="pad">
        <BarRow
          name={ROUTING.predicted}
          value={predicted}
          most={most}
          text={textOf(measure(predicted))}
          tone="device"
        />
        <BarRow
          name={ROUTING.reported}
          value={reported}
          most={most}
          text={textOf(measure(reported))}
          tone="remote"
        />
        <p class="muted">
          <Rich text={ROUTING.tokensNote(textOf(percent(predicted === 0 ? null : reported / predicted)))} />{" "}
          {report.served_elsewhere === 0 ? null : (
            <Rich text={ROUTING.elsewhere(count(report.served_elsewhere))} />
          )}
        </p>
      </div>
    </Panel>
  );
}

function Endpoints({ endpoints, states }: PickerReport): ComponentChildren {
  const { columns } = ROUTING;
  const others = STATES.filter((name) => states[name] > 0).map(
    (name) => `${count(states[name])} ${ROUTING.states[name]}`,
  );
  const rows = endpoints.toSorted(
    (a, b) => b.waiting - a.waiting || b.running - a.running || (a.endpoint < b.endpoint ? -1 : 1),
  );
  return (
    <Panel
      title={ROUTING.endpoints}
      isReady
      aside={ROUTING.endpointsAside(count(states.eligible), others)}
      empty={rows.length === 0 ? ROUTING.noEndpoints : null}
    >
      <div class="scroll tall" tabIndex={0} role="region" aria-label={ROUTING.endpoints}>
        <table>
          <thead>
            <tr>
              <th scope="col">{columns.endpoint}</th>
              <th scope="col" class="spare">
                {columns.model}
              </th>
              {[columns.running, columns.waiting].map((title) => (
                <th key={title} scope="col" class="num">
                  {title}
                </th>
              ))}
              {[columns.pending, columns.context].map((title) => (
                <th key={title} scope="col" class="num spare">
                  {title}
                </th>
              ))}
              <th scope="col">{columns.capacity}</th>
              <th scope="col" class="num spare">
                {columns.foreign}
              </th>
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <EndpointRow key={`${row.endpoint} ${row.dp_rank ?? ""}`} {...row} />
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}

function EndpointRow(row: Endpoint): ComponentChildren {
  const share = row.capacity_tokens === 0 ? null : Math.min(1, row.context_tokens / row.capacity_tokens);
  return (
    <tr>
      <td>
        <a class="mono plain" href={linkTo("engines", { open: row.worker })}>
          {row.worker}
          {row.dp_rank === null || row.dp_rank === 0 ? "" : `/${row.dp_rank}`}
        </a>{" "}
        <span class="faint mono spare">{row.endpoint}</span>
      </td>
      <td class="mono muted spare">{row.model ?? UNKNOWN}</td>
      {[row.running, row.waiting].map((value, i) => (
        <td key={i === 0 ? "running" : "waiting"} class={`num ${value === 0 ? "idle" : ""}`}>
          {count(value)}
        </td>
      ))}
      <td class="num spare">{textOf(measure(row.pending_tokens))}</td>
      <td class="num spare">{textOf(measure(row.context_tokens))}</td>
      <td>
        <span class="use">
          <span class="gauge">
            <i
              class={share !== null && share > 0.9 ? "bad" : ""}
              style={{ width: `${(share ?? 0) * 100}%` }}
            />
          </span>
          {textOf(percent(share))}
        </span>
      </td>
      <td class={`num spare ${row.foreign_running === 0 ? "idle" : ""}`}>{count(row.foreign_running)}</td>
    </tr>
  );
}
