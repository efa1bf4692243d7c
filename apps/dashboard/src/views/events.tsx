/** Events of one engine as they are applied: a live tail with a pause and filters. */
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { linkTo, route, setParams } from "../page/route.ts";
import { fleetSummary, hasData, now, whoAmI } from "../page/state.ts";
import { useAddresses } from "../parts/addresses.ts";
import { errorsUrl } from "../parts/engine-links.ts";
import { Outward } from "../parts/outward.tsx";
import { failureText, Panel } from "../parts/panel.tsx";
import { Tag } from "../parts/tag.tsx";
import { EVENTS } from "../texts/events.ts";
import { compareWorst, type EngineSummary, needsAttention } from "../verdict/fleet-summary.ts";
import { count, duration, measure, textOf, timeOfDay, UNKNOWN, utc } from "../words.ts";
import { followEvents, KEPT_MAX, type TailEvent, type TailState } from "./event-tail.ts";

const TYPES = ["BlockStored", "BlockRemoved", "AllBlocksCleared", "message"] as const;
const RATE_SECONDS = 5;
/** Rows drawn; the others are a filter away. */
const ROWS_MAX = 200;
const SUGGESTED_MAX = 6;

/** The view. */
export function Events(): ComponentChildren {
  const { params } = route.value;
  const engine = params.get("engine") ?? "";
  const rank = params.get("rank") ?? "";
  const engines = fleetSummary.value.engines;
  return (
    <>
      <Choice engine={engine} rank={rank} />
      {engine === "" ? (
        <Suggestions engines={engines} />
      ) : (
        <Tail key={`${engine} ${rank}`} engine={engine} rank={rank} />
      )}
    </>
  );
}

/** What to do without a chosen engine: those that need attention come first. */
function Suggestions({ engines }: { readonly engines: readonly EngineSummary[] }): ComponentChildren {
  const worst = engines
    .filter(needsAttention)
    .sort((a, b) => compareWorst(a.worst, b.worst))
    .slice(0, SUGGESTED_MAX);
  return (
    <Panel title={EVENTS.title} empty={engines.length === 0 ? EVENTS.noEngine : null}>
      <div class="pad">
        <p class="muted">{EVENTS.choose}</p>
        {worst.length === 0 ? null : (
          <p class="bar">
            <span class="muted">{EVENTS.attention}</span>
            {worst.map(({ id }) => (
              <a key={id} class="btn mono" href={linkTo("events", { engine: id })}>
                {id}
              </a>
            ))}
          </p>
        )}
      </div>
    </Panel>
  );
}

function Choice({ engine, rank }: { readonly engine: string; readonly rank: string }): ComponentChildren {
  const engines = fleetSummary.value.engines;
  const ranks = engines.find(({ id }) => id === engine)?.ranks ?? [];
  const [text, setText] = useState(engine);
  useEffect(() => {
    setText(engine);
  }, [engine]);
  // One engine needs no choice.
  const only = engines.length === 1 ? (engines[0]?.id ?? "") : "";
  useEffect(() => {
    if (engine === "" && only !== "") setParams({ engine: only });
  }, [engine, only]);
  return (
    <div class="bar">
      <label class="inline">
        <span class="muted">{EVENTS.engine}</span>
        <input
          class="input"
          list="event-engines"
          placeholder={EVENTS.placeholder}
          autocomplete="off"
          spellcheck={false}
          value={text}
          onInput={(event) => {
            const { value } = event.currentTarget;
            setText(value);
            if (engines.some(({ id }) => id === value)) setParams({ engine: value, rank: "" });
          }}
          onChange={(event) => {
            setParams({ engine: event.currentTarget.value, rank: "" });
          }}
        />
      </label>
      <datalist id="event-engines">
        {engines.map(({ id }) => (
          <option key={id} value={id} />
        ))}
      </datalist>
      {ranks.length < 2 ? null : (
        <select
          class="facet"
          aria-label={EVENTS.rank}
          value={rank}
          onChange={(event) => {
            setParams({ rank: event.currentTarget.value });
          }}
        >
          {ranks.map((one) => (
            <option key={one.rank} value={one.rank}>
              {EVENTS.rank} {one.rank}
            </option>
          ))}
        </select>
      )}
      <span class="faint right">
        {whoAmI.value?.scope === "admin" ? EVENTS.privacyOfAdmin : EVENTS.privacy}
      </span>
    </div>
  );
}

function useTail(engine: string, rank: string) {
  const [state, setState] = useState<TailState>({ kind: "connecting" });
  const [events, setEvents] = useState<readonly TailEvent[]>([]);
  const [leftOut, setLeftOut] = useState(0);
  const [missed, setMissed] = useState(0);
  const isPaused = useRef(false);
  useEffect(
    () =>
      followEvents(engine, rank, {
        onState: setState,
        onEvents: (more, left) => {
          setLeftOut((before) => before + left);
          if (isPaused.current) setMissed((before) => before + more.length + left);
          else setEvents((before) => [...more.toReversed(), ...before].slice(0, KEPT_MAX));
        },
      }),
    [engine, rank],
  );
  return { state, events, leftOut, missed, isPaused, setEvents, setMissed, setLeftOut };
}

function emptyText(state: TailState): string {
  if (state.kind === "refused")
    return state.failure.code === "too_many_viewers"
      ? EVENTS.full
      : state.failure.code === "unknown_engine"
        ? EVENTS.gone
        : failureText(state.failure);
  return { connecting: EVENTS.connecting, live: EVENTS.waiting, ended: EVENTS.ended, gone: EVENTS.gone }[
    state.kind
  ];
}

function Tail({ engine, rank }: { readonly engine: string; readonly rank: string }): ComponentChildren {
  const { state, events, leftOut, missed, isPaused, setEvents, setMissed, setLeftOut } = useTail(
    engine,
    rank,
  );
  const hidden = new Set((route.value.params.get("hide") ?? "").split(",").filter((type) => type !== ""));
  const isDropped = route.value.params.get("dropped") === "1";
  const shown = events.filter(({ type, applied }) => !hidden.has(type) && !(isDropped && applied));
  const recent = events.filter(({ at }) => at > now.value - RATE_SECONDS * 1000).length / RATE_SECONDS;
  const isLive = state.kind === "live";
  const worst = fleetSummary.value.engines.find(({ id }) => id === engine)?.worst;
  return (
    <Panel
      title={engine}
      isReady={hasData.value}
      aside={
        <>
          {worst === undefined || worst.trust === "exact" ? null : <Tag word={worst.trust} />}
          {isLive ? EVENTS.rate(textOf(measure(recent))) : emptyText(state)}
        </>
      }
      empty={events.length === 0 ? emptyText(state) : null}
    >
      <div class="bar pad">
        <div class="seg" role="group" aria-label={EVENTS.types}>
          {TYPES.map((type) => (
            <button
              key={type}
              type="button"
              aria-pressed={!hidden.has(type)}
              onClick={() => {
                if (!hidden.delete(type)) hidden.add(type);
                setParams({ hide: [...hidden].join(",") });
              }}
            >
              {EVENTS.typeNames[type]}
            </button>
          ))}
        </div>
        <button
          type="button"
          class="facet"
          aria-pressed={isDropped}
          onClick={() => {
            setParams({ dropped: isDropped ? "" : "1" });
          }}
        >
          {EVENTS.onlyDropped}
        </button>
        <span class="right">
          <button
            type="button"
            class="btn"
            onClick={() => {
              isPaused.current = !isPaused.current;
              setMissed(0);
              setEvents([...events]);
            }}
          >
            {isPaused.current ? EVENTS.resume : EVENTS.pause}
          </button>
          <button
            type="button"
            class="btn"
            onClick={() => {
              setEvents([]);
              setLeftOut(0);
            }}
          >
            {EVENTS.clear}
          </button>
        </span>
      </div>
      {isPaused.current ? <p class="pad muted">{EVENTS.pausedNote(count(missed))}</p> : null}
      {leftOut === 0 ? null : <p class="pad faint">{EVENTS.leftOut(count(leftOut))}</p>}
      <Rows events={shown.slice(0, ROWS_MAX)} />
      <div class="foot">
        <Outward url={errorsUrl(useAddresses(), "drops")} text={EVENTS.reasons} />
        <span>{EVENTS.kept(count(Math.min(shown.length, ROWS_MAX)), count(events.length))}</span>
      </div>
    </Panel>
  );
}

function Rows({ events }: { readonly events: readonly TailEvent[] }): ComponentChildren {
  const { columns } = EVENTS;
  const seesHashes = whoAmI.value?.scope === "admin";
  return (
    <div class="scroll tall" tabIndex={0} role="region" aria-label={EVENTS.title}>
      <table>
        <thead>
          <tr>
            <th scope="col">{columns.time}</th>
            <th scope="col">{columns.type}</th>
            <th scope="col" class="num">
              {columns.blocks}
            </th>
            <th scope="col">{columns.outcome}</th>
            <th scope="col" class="spare">
              {columns.tier}
            </th>
            <th scope="col" class="spare">
              {columns.lora}
            </th>
            {seesHashes ? (
              <th scope="col" class="spare">
                {columns.hash}
              </th>
            ) : null}
            <th scope="col" class="num spare">
              {columns.message}
            </th>
            <th scope="col" class="num spare">
              {columns.lag}
            </th>
          </tr>
        </thead>
        <tbody>
          {events.map(({ n, at, seq, lag_ms, type, blocks, applied, reason, tier, lora, hash }) => (
            <tr key={n}>
              <td class="mono" title={utc(at)}>
                {timeOfDay(at)}
              </td>
              <td class="mono">{type}</td>
              <td class={`num ${blocks === 0 ? "idle" : ""}`}>{count(blocks)}</td>
              <td>
                <span class={`tag ${applied ? "exact" : "stale"}`}>{applied ? EVENTS.applied : reason}</span>
              </td>
              <td class="spare">{tier ?? UNKNOWN}</td>
              <td class="mono spare">{lora ?? ""}</td>
              {seesHashes ? <td class="mono spare">{hash ?? ""}</td> : null}
              <td class="num mono spare">{count(seq)}</td>
              <td class="num spare">
                {lag_ms === null ? UNKNOWN : textOf(duration(Math.max(0, lag_ms) / 1000))}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
