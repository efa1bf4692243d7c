/** Alerts: those that fire or are pending, silences, and every rule; with the source of all of it named. */
import "../style/alerts.css";

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";

import type { AlertRule, Silence } from "@kvsync/client";

import { ask, post } from "../page/api.ts";
import { linkTo, route, setParams } from "../page/route.ts";
import { fleet, fleetSummary, followStream, hasFeature, now, whoAmI } from "../page/state.ts";
import { isWeb } from "../page/web-address.ts";
import { Panel } from "../parts/panel.tsx";
import { Rich } from "../parts/rich.tsx";
import { faultOf, SilenceForm } from "../parts/silence-form.tsx";
import { Tag, toneOf } from "../parts/tag.tsx";
import type { Alert, AlertState, Alerts as AlertList } from "../stream/stream-messages.ts";
import { ALERTS, RULES, SILENCES } from "../texts/alerts.ts";
import { count, duration, textOf, timeOfDay, utc } from "../words.ts";
import { again, nameOf, textOfMatcher } from "./alert-silence.ts";

const STATES: readonly AlertState[] = ["firing", "pending", "silenced", "inhibited"];

/** What a person did, until it is dismissed. */
interface Note {
  readonly text: string;
  readonly isFault: boolean;
  readonly onUndo: (() => void) | null;
}

/** The view. */
export function Alerts(): ComponentChildren {
  followStream();
  const [silencing, setSilencing] = useState<Alert | null>(null);
  const [note, setNote] = useState<Note | null>(null);
  const list = fleet.alerts;
  const tell = (text: string, onUndo: (() => void) | null = null, isFault = false): void => {
    setNote({ text, onUndo, isFault });
  };
  const expire = async (silence: Silence): Promise<void> => {
    const name = nameOf(silence.matchers);
    try {
      await expireSilence(silence.id);
      tell(SILENCES.expired(name), () => {
        void undo(silence);
      });
    } catch (error) {
      tell(faultOf(error), null, true);
    }
  };
  const undo = async (silence: Silence): Promise<void> => {
    try {
      await post("alerts/silences", again(silence));
      tell(SILENCES.made(nameOf(silence.matchers)));
    } catch (error) {
      tell(faultOf(error), null, true);
    }
  };
  const maySilence = whoAmI.value?.scope === "admin" && hasAlertmanager(list);
  return (
    <>
      {list === null ? null : <SourceNotices list={list} />}
      {note === null ? null : (
        <NoteBar
          note={note}
          onDismiss={() => {
            setNote(null);
          }}
        />
      )}
      <AlertPanel list={list} onSilence={maySilence ? setSilencing : null} />
      <SilencePanel list={list} onExpire={maySilence ? expire : null} />
      <RulePanel rules={list?.rules ?? []} />
      {silencing === null ? null : (
        <SilenceForm
          alert={silencing}
          onClose={() => {
            setSilencing(null);
          }}
          onMade={() => {
            setSilencing(null);
            tell(SILENCES.made(silencing.name));
          }}
        />
      )}
    </>
  );
}

async function expireSilence(id: string): Promise<void> {
  await ask(`alerts/silences/${encodeURIComponent(id)}`, { method: "DELETE" }, "nothing");
}

function hasAlertmanager(list: AlertList | null): boolean {
  return list?.sources?.some(({ name }) => name === "alertmanager") === true;
}

function SourceNotices({ list }: { readonly list: AlertList }): ComponentChildren {
  const failed = (list.sources ?? []).filter(({ state }) => state === "failed");
  return failed.map((source) => (
    <div key={source.name} class="banner" role="status">
      {ALERTS.failed(ALERTS.sources[source.name], source.problem ?? "")}{" "}
      {source.name === "prometheus" ? ALERTS.ownInstead : ALERTS.noSilences}
    </div>
  ));
}

function NoteBar({
  note,
  onDismiss,
}: {
  readonly note: Note;
  readonly onDismiss: () => void;
}): ComponentChildren {
  return (
    <div class={`banner ${note.isFault ? "bad" : ""}`} role={note.isFault ? "alert" : "status"}>
      {note.text}{" "}
      {note.onUndo === null ? null : (
        <button type="button" class="link" onClick={note.onUndo}>
          {SILENCES.undo}
        </button>
      )}{" "}
      <button type="button" class="link" onClick={onDismiss}>
        {SILENCES.dismiss}
      </button>
    </div>
  );
}

function sourceText({ source, sources = [] }: AlertList): string {
  const times = sources.filter(({ state }) => state === "in_use").map(({ at }) => at ?? 0);
  const oldest = Math.min(...times);
  const from = source === undefined ? "" : (ALERTS.from[source] ?? source);
  return times.length === 0 || oldest === 0 ? from : `${from}, ${ageText(oldest)} ago`;
}

function ageText(seconds: number): string {
  return textOf(duration(Math.max(0, Math.round(now.value / 1000 - seconds))));
}

function emptyText(list: AlertList | null, shown: readonly Alert[]): string | null {
  if (!hasFeature("alerts")) return ALERTS.unsupported;
  const isWaiting = list?.sources?.every(({ at }) => at === null) === true;
  if (list === null || isWaiting) return ALERTS.waiting;
  if (shown.length > 0) return null;
  return (list.alerts ?? []).length === 0 ? ALERTS.none : ALERTS.noneOf;
}

function AlertPanel({
  list,
  onSilence,
}: {
  readonly list: AlertList | null;
  readonly onSilence: ((alert: Alert) => void) | null;
}): ComponentChildren {
  const alerts = list?.alerts ?? [];
  const wanted = STATES.find((state) => state === route.value.params.get("state")) ?? null;
  const shown = wanted === null ? alerts : alerts.filter(({ state }) => state === wanted);
  const empty = emptyText(list, shown);
  return (
    <>
      <div class="bar">
        <div class="seg states" role="group" aria-label={ALERTS.filter}>
          {[null, ...STATES].map((state) => (
            <button
              key={state ?? "all"}
              type="button"
              aria-pressed={wanted === state}
              onClick={() => {
                setParams({ state: state ?? "" });
              }}
            >
              {state === null ? ALERTS.all : ALERTS.states[state]}{" "}
              <span class="n">
                {state === null ? alerts.length : alerts.filter((one) => one.state === state).length}
              </span>
            </button>
          ))}
        </div>
      </div>
      <Panel title={ALERTS.title} aside={list === null ? null : sourceText(list)} empty={empty}>
        <ul class="list alerts">
          {shown.map((alert) => (
            <AlertRow
              key={`${alert.name} ${JSON.stringify(alert.labels ?? {})}`}
              alert={alert}
              onSilence={onSilence}
            />
          ))}
        </ul>
        {(list?.left_out ?? 0) > 0 ? (
          <div class="foot">
            <span>{ALERTS.leftOut(count(list?.left_out))}</span>
          </div>
        ) : null}
      </Panel>
    </>
  );
}

/** Whether the daemon follows an engine of that name: alerts may be about others. */
function isFollowed(pod: string): boolean {
  return fleetSummary.value.engines.some(({ id }) => id === pod);
}

function AlertRow({
  alert,
  onSilence,
}: {
  readonly alert: Alert;
  readonly onSilence: ((alert: Alert) => void) | null;
}): ComponentChildren {
  const { name, state, severity = "", labels = {}, summary, description } = alert;
  return (
    <li class={`is-${state}`}>
      <span class="tags" title={ALERTS.stateHelp[state]}>
        <Tag word={state} />
        <span class={`severity ${toneOf(severity)}`}>{severity}</span>
      </span>
      <div>
        <h3>{name}</h3>
        <p>{description ?? summary ?? ""}</p>
        <p class="labels mono">
          {Object.entries(labels).map(([label, text]) => (
            <span key={label}>
              {label}=
              {label === "pod" && isFollowed(text) ? (
                <a href={linkTo("engines", { open: text })}>{text}</a>
              ) : (
                <b>{text}</b>
              )}
            </span>
          ))}
        </p>
      </div>
      <div class="end">
        <span class="muted" title={utc((alert.since ?? 0) * 1000)}>
          {timeText(alert)}
        </span>
        <span class="acts">
          <Links {...alert} />
          {onSilence === null || state === "silenced" ? null : (
            <button
              type="button"
              class="btn"
              aria-label={ALERTS.silenceOf(name)}
              onClick={() => {
                onSilence(alert);
              }}
            >
              {ALERTS.silence}
            </button>
          )}
        </span>
      </div>
    </li>
  );
}

function timeText({ state, since, fires_at }: Alert): string {
  if (state === "pending" && typeof fires_at === "number") {
    const left = Math.round(fires_at - now.value / 1000);
    return left > 0 ? ALERTS.firesIn(textOf(duration(left))) : ALERTS.firesNow;
  }
  return typeof since === "number" ? ALERTS.since(ageText(since)) : "";
}

function Links({
  runbook_url: runbook,
  dashboard_url: panel,
}: {
  readonly runbook_url?: string | null;
  readonly dashboard_url?: string | null;
}): ComponentChildren {
  const links = [
    [runbook, ALERTS.runbook],
    [panel, ALERTS.panel],
  ] as const;
  return links.map(([url, text]) =>
    isWeb(url) ? (
      <a key={text} href={url} target="_blank" rel="noopener noreferrer">
        {text}
      </a>
    ) : null,
  );
}

function SilencePanel({
  list,
  onExpire,
}: {
  readonly list: AlertList | null;
  readonly onExpire: ((silence: Silence) => Promise<void>) | null;
}): ComponentChildren {
  const silences = list?.silences ?? null;
  const isReadOnly = hasAlertmanager(list) && onExpire === null;
  const empty = !hasAlertmanager(list)
    ? SILENCES.unset
    : silences === null
      ? SILENCES.unknown
      : silences.length === 0
        ? SILENCES.none
        : null;
  return (
    <Panel title={SILENCES.title} aside={isReadOnly ? SILENCES.readOnly : null}>
      {empty === null ? (
        <ul class="list silences">
          {silences?.map((silence) => (
            <SilenceRow key={silence.id} silence={silence} onExpire={onExpire} />
          ))}
        </ul>
      ) : (
        <p class="empty">
          <Rich text={empty} />
        </p>
      )}
    </Panel>
  );
}

function SilenceRow({
  silence,
  onExpire,
}: {
  readonly silence: Silence;
  readonly onExpire: ((silence: Silence) => Promise<void>) | null;
}): ComponentChildren {
  const [isAsking, setAsking] = useState(false);
  const [starts, ends] = [Date.parse(silence.starts_at), Date.parse(silence.ends_at)];
  const name = nameOf(silence.matchers);
  return (
    <li>
      <div>
        <p class="labels mono">
          {silence.matchers.map((matcher) => (
            <span key={textOfMatcher(matcher)}>{textOfMatcher(matcher)}</span>
          ))}
        </p>
        <p>
          {silence.comment} <span class="faint">{SILENCES.by(silence.created_by)}</span>
        </p>
      </div>
      <span class="muted" title={utc(ends)}>
        {silence.state === "pending"
          ? SILENCES.starts(timeOfDay(starts))
          : SILENCES.ends(timeOfDay(ends), textOf(duration(Math.max(0, (ends - now.value) / 1000))))}
      </span>
      {onExpire === null ? null : isAsking ? (
        <span class="bar">
          <button
            type="button"
            class="btn primary"
            onClick={() => {
              setAsking(false);
              void onExpire(silence);
            }}
          >
            {SILENCES.sure(name)}
          </button>
          <button
            type="button"
            class="btn"
            onClick={() => {
              setAsking(false);
            }}
          >
            {SILENCES.keep}
          </button>
        </span>
      ) : (
        <button
          type="button"
          class="btn"
          aria-label={SILENCES.sure(name)}
          onClick={() => {
            setAsking(true);
          }}
        >
          {SILENCES.expire}
        </button>
      )}
    </li>
  );
}

function RulePanel({ rules }: { readonly rules: readonly AlertRule[] }): ComponentChildren {
  const needing = rules.filter(({ state }) => state === "needs_prometheus").length;
  return (
    <Panel title={RULES.title} aside={RULES.counts(count(rules.length - needing), count(needing))}>
      <div class="scroll" tabIndex={0} role="region" aria-label={RULES.title}>
        <table class="rules stacked">
          <thead>
            <tr>
              {Object.values(RULES.columns).map((column) => (
                <th key={column} scope="col">
                  {column}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {[...rules].sort(byState).map((rule) => (
              <RuleRow key={rule.name} {...rule} />
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}

const RULE_ORDER: readonly AlertRule["state"][] = [
  "firing",
  "failed",
  "pending",
  "unknown",
  "inactive",
  "needs_prometheus",
];

function byState(one: AlertRule, other: AlertRule): number {
  return RULE_ORDER.indexOf(one.state) - RULE_ORDER.indexOf(other.state) || (one.name < other.name ? -1 : 1);
}

function RuleRow(rule: AlertRule): ComponentChildren {
  const { name, state, severity, for_seconds, summary, needs, problem } = rule;
  return (
    <tr>
      <th scope="row">{name}</th>
      <td>
        <span class={`tag ${state === "failed" ? "bad" : toneOf(state)}`}>{RULES.states[state]}</span>
      </td>
      <td class="spare">{severity}</td>
      <td class="num spare">{textOf(duration(for_seconds))}</td>
      <td class="muted whole">
        {summary} {needs === null || state !== "needs_prometheus" ? null : RULES.needs[needs]}{" "}
        {problem === null ? null : <span class="fault">{problem}</span>}
      </td>
      <td class="end whole">
        <Links {...rule} />
      </td>
    </tr>
  );
}
