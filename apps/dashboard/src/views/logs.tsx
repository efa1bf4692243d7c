/** The daemon's log: its latest lines, what is in them, and how much is logged. */
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import type { LogLine, LogLines, Severity } from "@kvsync/client";

import { ApiError, ask } from "../page/api.ts";
import { route, setParams } from "../page/route.ts";
import { connectionState, whoAmI } from "../page/state.ts";
import { failureText, Panel } from "../parts/panel.tsx";
import { follow } from "../stream/follow.ts";
import { LOGS } from "../texts/logs.ts";
import { count, timeOfDay, utc } from "../words.ts";
import { filterLines, SEVERITIES, withAnswer } from "./log-lines.ts";

const BORROW_SECONDS = 60;
const LEVELS = [2, 3, 4, 5] as const;
/** Rows drawn; the others are a filter away. */
const ROWS_MAX = 300;

const TONES: Readonly<Record<Severity, string>> = {
  fatal: "bad",
  error: "bad",
  warn: "stale",
  info: "",
  debug: "unknown",
};

/** The view. */
export function Logs(): ComponentChildren {
  const { params } = route.value;
  const [isPaused, setPaused] = useState(false);
  const { lines, leftOut, failure } = useLines(isPaused);
  const level = SEVERITIES.find((name) => name === params.get("level")) ?? "debug";
  const filter = {
    level,
    text: params.get("q") ?? "",
    event: params.get("event") ?? "",
    pod: params.get("pod") ?? "",
  };
  const shown = filterLines(lines ?? [], filter);
  return (
    <>
      <div class="bar">
        <input
          class="input search-wide"
          type="search"
          placeholder={LOGS.search}
          aria-label={LOGS.searchLabel}
          value={filter.text}
          onInput={(event) => {
            setParams({ q: event.currentTarget.value });
          }}
        />
        <select
          class="facet"
          aria-label={LOGS.level}
          value={level}
          onChange={(event) => {
            const { value } = event.currentTarget;
            setParams({ level: value === "debug" ? "" : value });
          }}
        >
          {SEVERITIES.toReversed().map((name) => (
            <option key={name} value={name}>
              {LOGS.levels[name]}
            </option>
          ))}
        </select>
        <Chosen name="pod" value={filter.pod} text={LOGS.pod(filter.pod)} help={LOGS.podHelp} />
        <Chosen name="event" value={filter.event} text={LOGS.event(filter.event)} help={LOGS.eventHelp} />
        <span class="right">
          <button
            type="button"
            class="btn"
            onClick={() => {
              setPaused(!isPaused);
            }}
          >
            {isPaused ? LOGS.resume : LOGS.pause}
          </button>
        </span>
      </div>
      <Verbosity />
      <Panel
        title={LOGS.title}
        isReady={lines !== null}
        failure={lines === null ? failure : null}
        aside={lines !== null && failure !== null ? failureText(failure) : LOGS.keep}
        empty={shown.length > 0 ? null : lines?.length === 0 ? LOGS.nothing : LOGS.none}
      >
        <ul class="list log">
          {shown.slice(0, ROWS_MAX).map((line) => (
            <Line key={line.n} line={line} />
          ))}
        </ul>
        <div class="foot">
          <span>{LOGS.foot(count(Math.min(shown.length, ROWS_MAX)), count(lines?.length))}</span>
          {leftOut === 0 ? null : <span>{LOGS.leftOut(count(leftOut))}</span>}
        </div>
      </Panel>
    </>
  );
}

function useLines(isPaused: boolean): {
  readonly lines: readonly LogLine[] | null;
  readonly leftOut: number;
  readonly failure: ApiError | null;
} {
  const [lines, setLines] = useState<readonly LogLine[] | null>(null);
  const [leftOut, setLeftOut] = useState(0);
  const [failure, setFailure] = useState<ApiError | null>(null);
  const last = useRef(0);
  const { kind } = connectionState.value;
  const isQuiet = isPaused || kind === "paused" || kind === "hidden";
  useEffect(() => {
    if (isQuiet) return undefined;
    return follow({
      path: () => `logs/stream?after=${last.current}`,
      onState: (state) => {
        if (state.kind === "live") setFailure(null);
        else if (state.kind === "refused") setFailure(state.failure);
        else if (state.kind === "ended") setFailure(new ApiError(0, "unreachable", "", ""));
      },
      onEvent: (event, data) => {
        if (event === "hello") setLines((before) => before ?? []);
        if (event !== "lines") return true;
        const answer = JSON.parse(data) as LogLines & { readonly left_out: number };
        // Numbers of lines begin again when a daemon starts again.
        last.current = answer.last;
        setLeftOut((before) => before + answer.left_out);
        setLines((before) => withAnswer(before ?? [], answer));
        return true;
      },
    });
  }, [isQuiet]);
  return { lines, leftOut, failure };
}

function Chosen({
  name,
  value,
  text,
  help,
}: {
  readonly name: string;
  readonly value: string;
  readonly text: string;
  readonly help: string;
}): ComponentChildren {
  if (value === "") return null;
  return (
    <button
      type="button"
      class="facet"
      aria-pressed
      title={help}
      onClick={() => {
        setParams({ [name]: "" });
      }}
    >
      {text}
    </button>
  );
}

function Line({ line }: { readonly line: LogLine }): ComponentChildren {
  const [isOpen, setOpen] = useState(false);
  const { time, level, component, event, message, facts } = line;
  const pod = facts?.["pod"];
  return (
    <li class={isOpen ? "open" : ""}>
      <button
        type="button"
        class="line"
        aria-expanded={isOpen}
        title={LOGS.unfold}
        onClick={() => {
          setOpen(!isOpen);
        }}
      >
        <span class="mono faint" title={utc(Date.parse(time))}>
          {timeOfDay(Date.parse(time))}
        </span>
        <span class={`tag ${TONES[level]}`}>{level}</span>
        <span class="muted part">{component}</span>
        <span class="text">
          {message} {typeof pod === "string" ? <span class="mono muted">{pod}</span> : null}
        </span>
      </button>
      {isOpen ? (
        <div class="unfolded">
          <pre class="mono">
            {facts === null ? LOGS.tooLong : JSON.stringify({ event, component, ...facts }, null, 2)}
          </pre>
          <button
            type="button"
            class="link"
            onClick={() => {
              setParams({ event });
            }}
          >
            {LOGS.onlyEvent}
          </button>
        </div>
      ) : null}
    </li>
  );
}

interface LevelState {
  readonly level: number;
  readonly configured_level: number;
  readonly until: string | null;
}

/** How much is logged, and more of it for a minute. */
function Verbosity(): ComponentChildren {
  const [state, setState] = useState<LevelState | null>(null);
  const [failure, setFailure] = useState<ApiError | null>(null);
  const load = (init: RequestInit = {}): void => {
    ask<LevelState>("log-level", init).then(
      (answer) => {
        setState(answer);
        setFailure(null);
      },
      (error: unknown) => {
        setFailure(error instanceof ApiError ? error : new ApiError(0, "", String(error), ""));
      },
    );
  };
  useEffect(() => {
    load();
  }, []);
  const until = state?.until ?? null;
  useEffect(() => {
    if (until === null) return undefined;
    const timer = setTimeout(load, Math.max(0, Date.parse(until) - Date.now()) + 500);
    return () => {
      clearTimeout(timer);
    };
  }, [until]);
  if (state === null) return null;
  const put = (level: number, seconds?: number): void => {
    load({
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(seconds === undefined ? { level } : { level, seconds }),
    });
  };
  const isAdmin = whoAmI.value?.scope === "admin";
  return (
    <div class="bar muted">
      <span>
        {LOGS.verbosity(state.level)}{" "}
        {until === null ? "" : LOGS.until(timeOfDay(Date.parse(until)), state.configured_level)}
      </span>
      {failure === null ? null : <span class="fault">{failureText(failure)}</span>}
      {!isAdmin ? <span class="faint">{LOGS.admin}</span> : null}
      {isAdmin && until !== null ? (
        <button
          type="button"
          class="btn"
          onClick={() => {
            put(state.configured_level);
          }}
        >
          {LOGS.giveBack}
        </button>
      ) : null}
      {isAdmin && until === null ? (
        <span class="bar" role="group" aria-label={LOGS.borrowed}>
          {LEVELS.filter((level) => level > state.level).map((level) => (
            <button
              key={level}
              type="button"
              class="btn"
              onClick={() => {
                put(level, BORROW_SECONDS);
              }}
            >
              {LOGS.borrow(level)}
            </button>
          ))}
        </span>
      ) : null}
    </div>
  );
}
