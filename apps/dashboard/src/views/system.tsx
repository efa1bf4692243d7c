/** The daemon itself: its process, the sources of its engines, links, and every setting with its source. */
import type { ComponentChildren } from "preact";

import type { SystemReport } from "@kvsync/client";

import { apiUrl } from "../page/api.ts";
import { route, setParams } from "../page/route.ts";
import { fleet, followStream, now } from "../page/state.ts";
import { isWeb } from "../page/web-address.ts";
import { Breakable } from "../parts/breakable.tsx";
import { Panel } from "../parts/panel.tsx";
import { type Polled, usePolled } from "../parts/polled.ts";
import { Rich } from "../parts/rich.tsx";
import { Tag } from "../parts/tag.tsx";
import { SYSTEM } from "../texts/system.ts";
import { toneOfUse } from "../verdict/memory-use.ts";
import { bytes, count, dayAndTime, duration, plural, textOf, UNKNOWN, utc } from "../words.ts";

const REFRESH_MS = 10_000;
/** The health check of snapshots, as the daemon names it. */
const SNAPSHOT_CHECK = "snapshot_store";
const LINKS = ["grafana", "traces", "runbooks", "errors"] as const;
/** Plain answers that a person may want to read, below the daemon's address. */
const ANSWERS = ["../../health", "../../metrics", "../../openapi.json"] as const;
const COMMIT_CHARACTERS = 12;
/** A certificate with less time left is shown as a warning. */
const CERTIFICATE_SOON_MS = 14 * 86_400_000;

type Report = Polled<SystemReport>;

/** The view. */
export function System(): ComponentChildren {
  const polled = usePolled<SystemReport>("system", REFRESH_MS);
  return (
    <div class="cols system">
      <div class="stack">
        <Settings {...polled} />
      </div>
      <div class="stack">
        <div class="stack urgent">
          <Sources {...polled} />
          <Facts {...polled} />
          <Snapshot {...polled} />
        </div>
        <Links {...polled} />
      </div>
    </div>
  );
}

function stateOf({ answer, failure, again }: Report) {
  return { isReady: answer !== null, failure: answer === null ? failure : null, onRetry: again };
}

function ageOf(time: string): string {
  return textOf(duration(Math.max(0, now.value - Date.parse(time)) / 1000));
}

function Facts(polled: Report): ComponentChildren {
  const { answer } = polled;
  const { facts } = SYSTEM;
  const rows: (readonly [name: string, value: string, tone?: string, title?: string])[] =
    answer === null
      ? []
      : [
          [facts.version, answer.version],
          [facts.commit, answer.commit?.slice(0, COMMIT_CHARACTERS) ?? SYSTEM.noCommit],
          [facts.instance, answer.instance],
          [
            facts.started,
            SYSTEM.started(dayAndTime(Date.parse(answer.started_at)), ageOf(answer.started_at)),
            "",
            utc(Date.parse(answer.started_at)),
          ],
          [facts.node, answer.node],
          [facts.v8, answer.v8],
          [facts.os, answer.os],
          [facts.cpus, SYSTEM.cores(plural(answer.cpus, "core"), answer.arch)],
          [facts.pid, String(answer.pid)],
          [
            facts.memory,
            SYSTEM.memoryOf(textOf(bytes(answer.memory.rss)), textOf(bytes(answer.memory.limit))),
            toneOfUse(answer.memory.rss, answer.memory.limit),
          ],
          [facts.certificate, certificateText(answer.certificate), certificateTone(answer.certificate)],
        ];
  return (
    <Panel title={SYSTEM.daemon} {...stateOf(polled)}>
      <dl class="wide">
        {rows.map(([name, value, tone = "", title = ""]) => [
          <dt key={`${name} name`}>{name}</dt>,
          <dd key={name} class={tone} title={title}>
            {value}
          </dd>,
        ])}
      </dl>
    </Panel>
  );
}

function certificateText(certificate: SystemReport["certificate"]): string {
  if (certificate === null) return SYSTEM.noTls;
  const left = (Date.parse(certificate.not_after) - now.value) / 1000;
  const date = certificate.not_after.slice(0, 10);
  return left <= 0 ? SYSTEM.expired(date) : SYSTEM.certificate(date, textOf(duration(left)));
}

function certificateTone(certificate: SystemReport["certificate"]): string {
  if (certificate === null) return "";
  const left = Date.parse(certificate.not_after) - now.value;
  return left <= 0 ? "bad" : left < CERTIFICATE_SOON_MS ? "stale" : "";
}

function Sources(polled: Report): ComponentChildren {
  const sources = polled.answer?.sources ?? [];
  return (
    <Panel title={SYSTEM.sources} {...stateOf(polled)} empty={sources.length === 0 ? SYSTEM.noSources : null}>
      <ul class="list">
        {sources.map(({ source, state, engines, last_success, failure }) => (
          <li key={source} class="source">
            <b>{source}</b>
            <span class="muted">
              {plural(engines, "engine")} ·{" "}
              {last_success === null ? SYSTEM.noSuccess : SYSTEM.lastSuccess(ageOf(last_success))}
              {failure === null ? null : (
                <>
                  <br />
                  {failure.message}
                </>
              )}
            </span>
            <Tag word={state} />
          </li>
        ))}
      </ul>
    </Panel>
  );
}

function Snapshot(polled: Report): ComponentChildren {
  const snapshot = polled.answer?.snapshot;
  const age = snapshot?.age_seconds ?? null;
  followStream();
  const check = fleet.health?.checks?.find(({ name }) => name === SNAPSHOT_CHECK);
  return (
    <Panel
      title={SYSTEM.snapshot}
      {...stateOf(polled)}
      empty={snapshot?.folder === null ? SYSTEM.noSnapshot : null}
    >
      <dl class="wide">
        <dt>{SYSTEM.snapshotIn}</dt>
        <dd class="mono">
          <Breakable text={snapshot?.folder ?? ""} />
        </dd>
        <dt>{SYSTEM.snapshotAge}</dt>
        <dd>{age === null ? SYSTEM.never : SYSTEM.ago(textOf(duration(age)))}</dd>
        {check === undefined || check.status === "healthy" ? null : (
          <>
            <dt>{SYSTEM.snapshotState}</dt>
            <dd class={check.status === "unhealthy" ? "bad" : "stale"}>
              {check.status}: {check.message}
            </dd>
          </>
        )}
      </dl>
    </Panel>
  );
}

function Links(polled: Report): ComponentChildren {
  const links = polled.answer?.links;
  const known = LINKS.flatMap((name) => {
    const address = links?.[name] ?? null;
    // Of a setting: anything but a web address is shown as text nowhere.
    return isWeb(address) ? [[name, address] as const] : [];
  });
  return (
    <Panel title={SYSTEM.links} {...stateOf(polled)}>
      <div class="pad">
        {known.length === 0 ? (
          <p class="muted">
            <Rich text={SYSTEM.noLinks} />
          </p>
        ) : (
          <p class="bar">
            {known.map(([name, address]) => (
              <a key={name} class="btn" href={address} rel="noreferrer" target="_blank">
                {SYSTEM.linkNames[name]}
              </a>
            ))}
          </p>
        )}
        <p class="faint">{SYSTEM.answers}</p>
        <p class="bar">
          {ANSWERS.map((path) => (
            <a key={path} class="mono" href={apiUrl(path).href}>
              {path.replaceAll("../", "/").replace("//", "/")}
            </a>
          ))}
        </p>
      </div>
    </Panel>
  );
}

function Settings(polled: Report): ComponentChildren {
  const { columns } = SYSTEM;
  const { params } = route.value;
  const all = polled.answer?.settings ?? [];
  const text = (params.get("q") ?? "").toLowerCase();
  const isOnlyChanged = params.get("set") === "1";
  const shown = all.filter(
    ({ path, value, source }) =>
      !(isOnlyChanged && source === null) &&
      `${path} ${JSON.stringify(value)} ${source ?? ""}`.toLowerCase().includes(text),
  );
  const changed = all.filter(({ source }) => source !== null).length;
  return (
    <Panel
      title={SYSTEM.settings}
      {...stateOf(polled)}
      aside={all.length === 0 ? null : SYSTEM.settingsAside(count(changed), count(all.length))}
    >
      <div class="bar pad">
        <input
          class="input"
          type="search"
          placeholder={SYSTEM.search}
          aria-label={SYSTEM.search}
          value={params.get("q") ?? ""}
          onInput={(event) => {
            setParams({ q: event.currentTarget.value });
          }}
        />
        <button
          type="button"
          class="facet"
          aria-pressed={isOnlyChanged}
          onClick={() => {
            setParams({ set: isOnlyChanged ? "" : "1" });
          }}
        >
          {SYSTEM.onlyChanged}
        </button>
      </div>
      {shown.length === 0 ? <p class="empty">{SYSTEM.noSetting}</p> : null}
      <div class="scroll" tabIndex={0} role="region" aria-label={SYSTEM.settings}>
        <table class="settings stacked">
          <thead>
            <tr>
              <th scope="col">{columns.path}</th>
              <th scope="col">{columns.value}</th>
              <th scope="col">{columns.source}</th>
            </tr>
          </thead>
          <tbody>
            {shown.map(({ path, value, source }) => (
              <tr key={path}>
                <td class="mono whole">
                  <Breakable text={path} />
                </td>
                <td class="mono whole">{valueText(path, value)}</td>
                <td class={`whole ${source === null ? "faint" : ""}`}>
                  <Breakable text={source ?? SYSTEM.isDefault} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}

function valueText(path: string, value: unknown): ComponentChildren {
  if (value === null || value === undefined) return <span class="faint">{SYSTEM.none}</span>;
  if (path === "engines" && typeof value === "number") return plural(value, "entry", "entries");
  return (
    <Breakable text={typeof value === "string" ? (value === "" ? UNKNOWN : value) : JSON.stringify(value)} />
  );
}
