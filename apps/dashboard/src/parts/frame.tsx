/** The head of the page: the views, the state of the stream, time range, pause, theme and token. */
import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";

import { otherInstance, setToken, streamInstance, token } from "../page/api.ts";
import { linkTo, route, VIEW_NAMES, type ViewName } from "../page/route.ts";
import {
  connectionState,
  fleet,
  fleetSummary,
  followStream,
  hasData,
  hello,
  now,
  range,
  reconnect,
  staleness,
  streamRate,
  togglePause,
  whoAmI,
} from "../page/state.ts";
import { switchTheme, theme } from "../page/theme.ts";
import { FRAME, LOSSES, VIEWS } from "../texts/frame.ts";
import { VERDICTS } from "../texts/verdict.ts";
import { bytes, count, duration, textOf, timeOfDay, utc } from "../words.ts";
import { isLoginOpen } from "./login.tsx";

/** The bar at the top. */
export function Frame(): ComponentChildren {
  const introduction = hello.value;
  const present = route.value.view;
  const title = present in VIEWS ? VIEWS[present as ViewName] : present;
  const counts = Object.values(countsOf()).join(" ");
  useEffect(() => {
    document.title = `${title} · kvsync`;
  }, [title]);
  useEffect(() => {
    // On a phone the links are wider than the window, and a count that arrives moves them.
    document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  }, [title, counts]);
  return (
    <header class="top">
      <button
        type="button"
        class="btn skip"
        onClick={() => {
          document.querySelector("main")?.focus();
        }}
      >
        {FRAME.skip}
      </button>
      <div class="brand">
        <Logo />
        kvsync
      </div>
      <span class="faint nw instance">
        {introduction === null ? "" : `${introduction.instance} · ${introduction.version}`}
      </span>
      <nav class="tabs" aria-label={FRAME.views}>
        {VIEW_NAMES.map((view) => (
          <a
            key={view}
            href={linkTo(view)}
            class={view === "alerts" && countsOf().alerts > 0 ? "firing" : ""}
            {...(view === present ? { "aria-current": "page" } : {})}
          >
            {VIEWS[view]}
            <ViewCount view={view} />
          </a>
        ))}
      </nav>
      <div class="right">
        <Live />
        <Range />
        <button
          type="button"
          class="btn icon"
          aria-label={connectionState.value.kind === "paused" ? FRAME.resume : FRAME.pause}
          title={connectionState.value.kind === "paused" ? FRAME.resume : FRAME.pause}
          onClick={togglePause}
        >
          {connectionState.value.kind === "paused" ? "▶" : "❚❚"}
        </button>
        <button
          type="button"
          class="btn icon"
          aria-label={FRAME.theme}
          title={FRAME.theme}
          onClick={switchTheme}
        >
          {theme.value === "dark" ? "◐" : "◑"}
        </button>
        <Who />
      </div>
    </header>
  );
}

/** Engines, and alerts that fire. */
function countsOf(): { readonly engines: number; readonly alerts: number } {
  followStream();
  const firing = (fleet.alerts?.alerts ?? []).filter(({ state }) => state === "firing");
  return { engines: fleetSummary.value.engines.length, alerts: firing.length };
}

function ViewCount({ view }: { readonly view: ViewName }): ComponentChildren {
  const counts = countsOf();
  if (view !== "engines" && view !== "alerts") return null;
  return counts[view] === 0 ? null : (
    <span class={`count ${view === "alerts" ? "bad" : ""}`}>{count(counts[view])}</span>
  );
}

function Live(): ComponentChildren {
  const state = connectionState.value;
  followStream();
  const age = Math.max(0, now.value - fleet.at);
  const text =
    state.kind === "live"
      ? FRAME.live(textOf(duration(Math.max(1, Math.round(age / 1000)))))
      : state.kind === "paused" && hasData.value
        ? FRAME.pausedAt(timeOfDay(fleet.at))
        : FRAME.states[state.kind];
  return (
    <span class={`live ${state.kind}`} title={utc(fleet.at)}>
      <i aria-hidden="true" />
      {text}
    </span>
  );
}

function Range(): ComponentChildren {
  return (
    <div class="seg" role="group" aria-label={FRAME.range}>
      {([900, 3600] as const).map((seconds) => (
        <button
          key={seconds}
          type="button"
          aria-pressed={range.value === seconds}
          onClick={() => {
            range.value = seconds;
          }}
        >
          {seconds === 900 ? FRAME.quarter : FRAME.hour}
        </button>
      ))}
    </div>
  );
}

function Who(): ComponentChildren {
  const who = whoAmI.value;
  if (token.value !== null)
    return (
      <button
        type="button"
        class="btn"
        title={FRAME.logOut}
        onClick={() => {
          setToken(null);
          reconnect();
        }}
      >
        {who?.name ?? FRAME.logOut}
      </button>
    );
  if (who?.tokens_in_use === false) return null;
  return (
    <button
      type="button"
      class="btn"
      onClick={() => {
        isLoginOpen.value = true;
      }}
    >
      {FRAME.logIn}
    </button>
  );
}

/** Why there is no stream, and when it is asked for again. */
export function Loss(): ComponentChildren {
  const state = connectionState.value;
  return state.kind !== "waiting" ? null : (
    <>
      {LOSSES[state.reason]}{" "}
      {FRAME.retry(textOf(duration(Math.max(1, Math.ceil((state.retryAt - Date.now()) / 1000)))))}
      {/* Drawn each second, for the countdown. */}
      <span hidden>{now.value}</span>
    </>
  );
}

/** What is wrong with the stream, above every view that has no verdict. */
export function Notices({ hasVerdict }: { readonly hasVerdict: boolean }): ComponentChildren {
  const state = connectionState.value;
  const other = otherInstance.value;
  return (
    <>
      {state.kind === "waiting" && !hasVerdict ? (
        <div class="banner bad" role="alert">
          <span>
            <b>{VERDICTS.lost(timeOfDay(state.lostAt), staleness.value !== null)}</b> <Loss />
          </span>
          <button type="button" class="btn" onClick={reconnect}>
            {FRAME.retryNow}
          </button>
        </div>
      ) : null}
      {other === null ? null : (
        <div class="banner" role="alert">
          {FRAME.twoInstances(streamInstance.value ?? "", other)}
        </div>
      )}
    </>
  );
}

/** The line at the end of the page. */
export function Foot(): ComponentChildren {
  followStream();
  return (
    <footer>
      <span>{FRAME.kept}</span>
      <span>{streamRate.value === 0 ? "" : FRAME.rate(textOf(bytes(streamRate.value)), count(fleet.n))}</span>
    </footer>
  );
}

function Logo(): ComponentChildren {
  return (
    <svg width="20" height="20" viewBox="0 0 20 20" aria-hidden="true">
      <g class="logo-exact">
        <rect x="1" y="3" width="5" height="5" rx="1" />
        <rect x="7.5" y="3" width="5" height="5" rx="1" />
        <rect x="14" y="3" width="5" height="5" rx="1" opacity=".35" />
      </g>
      <g class="logo-accent">
        <rect x="1" y="10" width="5" height="5" rx="1" />
        <rect x="7.5" y="10" width="5" height="5" rx="1" opacity=".35" />
      </g>
    </svg>
  );
}
