/**
 * Everything about one engine. Most is in the stream; its timeline, gaps and drops by reason come from its own route.
 *
 * The route is asked when the drawer opens and again while it stays open, at a bounded rate.
 */
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { ApiError, ask } from "../page/api.ts";
import { now } from "../page/state.ts";
import type { RankRow } from "../stream/fleet-store.ts";
import { ENGINES } from "../texts/engines.ts";
import { type EngineSummary, isUnreachable } from "../verdict/fleet-summary.ts";
import { count, duration, textOf, timeOfDay, utc } from "../words.ts";
import { failureText } from "./panel.tsx";
import { Rich } from "./rich.tsx";
import { Tag } from "./tag.tsx";
import { Timeline, type TimelineEntry } from "./timeline.tsx";

/** How often the route is asked while a drawer is open. */
const REFRESH_MS = 5000;

/** One rank as `GET /api/v1/engines/{id}` answers. Every field may be absent: daemons differ. */
interface RankDetails {
  readonly dp_rank: number;
  readonly history_from_sequence_number?: number | null;
  readonly messages_applied?: number;
  readonly tiers?: Readonly<Partial<Record<"device" | "host" | "disk" | "remote", number>>>;
  readonly timeline?: readonly TimelineEntry[];
  readonly gaps?:
    | number
    | readonly {
        readonly at: number | string;
        readonly from: number;
        readonly messages: number;
        readonly outcome: string;
        readonly seconds?: number | null;
      }[];
  readonly drops?: Readonly<Record<string, { readonly total: number; readonly last_hour: number }>>;
}

interface EngineDetails {
  readonly endpoint?: string;
  readonly ranks?: readonly RankDetails[];
}

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
  const [details, failure] = useDetails(id);
  const button = useRef<HTMLButtonElement>(null);
  const [rank, setRank] = useState<number | null>(null);
  const row = engine?.ranks.find((one) => one.rank === rank) ?? engine?.worst ?? null;
  const own = details?.ranks?.find(({ dp_rank }) => dp_rank === row?.rank) ?? null;
  return (
    <aside class="panel drawer" aria-label={id}>
      <div class="hd">
        <h2>
          <span class="mono">{id}</span>
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
        </h2>
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
          <Sentence row={row} />
          <Position row={row} details={own} />
          <History details={own} failure={failure} row={row} />
        </>
      )}
    </aside>
  );
}

function useDetails(id: string): readonly [EngineDetails | null, ApiError | null] {
  const [details, setDetails] = useState<EngineDetails | null>(null);
  const [failure, setFailure] = useState<ApiError | null>(null);
  useEffect(() => {
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const load = async (): Promise<void> => {
      try {
        setDetails(await ask<EngineDetails>(`engines/${encodeURIComponent(id)}`, { signal: abort.signal }));
        setFailure(null);
      } catch (error) {
        if (abort.signal.aborted) return;
        setFailure(error instanceof ApiError ? error : new ApiError(0, "", String(error), ""));
      }
      if (!abort.signal.aborted)
        timer = setTimeout(() => {
          void load();
        }, REFRESH_MS);
    };
    void load();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [id]);
  return [details, failure];
}

/** The state of a rank in a sentence. */
function Sentence({ row }: { readonly row: RankRow }): ComponentChildren {
  const isFar = isUnreachable(row);
  const tone = row.trust === "exact" && !isFar ? "good" : isFar ? "bad" : "";
  const parts = [
    isFar ? ENGINES.unreachable : "",
    row.trust === "exact" ? (isFar ? "" : ENGINES.exact) : ENGINES.trusts[row.trust],
    row.reason === null || row.trust === "exact" ? "" : ENGINES.why(row.reason),
    row.missed === 0 ? "" : ENGINES.lostMessages(count(row.missed)),
  ];
  return (
    <section>
      <p class={`note ${tone}`}>
        <Rich text={parts.filter((part) => part !== "").join(" ")} />
      </p>
    </section>
  );
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

/** What only the engine's own route has. */
function History({
  details,
  failure,
  row,
}: {
  readonly details: RankDetails | null;
  readonly failure: ApiError | null;
  readonly row: RankRow;
}): ComponentChildren {
  return (
    <>
      {failure === null ? null : (
        <section>
          <p class="muted" role="alert">
            {failureText(failure)}
          </p>
        </section>
      )}
      {details?.timeline === undefined ? null : (
        <section>
          <h3>{ENGINES.timeline}</h3>
          <Timeline entries={details.timeline} end={now.value} />
        </section>
      )}
      {Array.isArray(details?.gaps) ? <Gaps gaps={details.gaps} /> : null}
      <Tiers row={row} details={details} />
      {details?.drops === undefined ? null : <Drops drops={details.drops} />}
    </>
  );
}

function Gaps({
  gaps,
}: {
  readonly gaps: Extract<RankDetails["gaps"], readonly unknown[]>;
}): ComponentChildren {
  return (
    <section>
      <h3>
        <span>{ENGINES.gaps}</span>
        <span class="faint">{count(gaps.length)}</span>
      </h3>
      {gaps.length === 0 ? (
        <p class="muted">{ENGINES.noGaps}</p>
      ) : (
        <table>
          <tbody>
            {[...gaps].reverse().map(({ at, from, messages, outcome, seconds }) => {
              const ms = new Date(at).getTime();
              const took = seconds === null || seconds === undefined ? "" : ` ${textOf(duration(seconds))}`;
              return (
                <tr key={`${at} ${from}`}>
                  <td class="mono" title={utc(ms)}>
                    {timeOfDay(ms)}
                  </td>
                  <td class="mono muted">{ENGINES.gapFrom(count(from))}</td>
                  <td class="num">{count(messages)}</td>
                  <td>
                    <Tag word={`${outcome}${took}`} />
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
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
          <div class="hb" key={tier}>
            <span class="muted">{tier}</span>
            <i
              class={tier}
              style={{ width: `${((counts[i] ?? 0) / most) * 100}%`, background: "currentcolor" }}
            />
            <span class="num">{count(counts[i])}</span>
          </div>
        ))
      )}
    </section>
  );
}

function Drops({ drops }: { readonly drops: NonNullable<RankDetails["drops"]> }): ComponentChildren {
  const rows = Object.entries(drops)
    .filter(([, { total }]) => total > 0)
    .sort(([, a], [, b]) => b.last_hour - a.last_hour || b.total - a.total);
  const most = Math.max(1, ...rows.map(([, { last_hour }]) => last_hour));
  return (
    <section>
      <h3>
        <span>{ENGINES.drops}</span>
        <span class="faint">{ENGINES.lastHour}</span>
      </h3>
      {rows.length === 0 ? (
        <p class="muted">{ENGINES.noDrops}</p>
      ) : (
        rows.map(([reason, { last_hour }]) => (
          <div class="hb" key={reason}>
            <span class="muted">{reason}</span>
            <i style={{ width: `${(last_hour / most) * 100}%` }} />
            <span class="num">{count(last_hour)}</span>
          </div>
        ))
      )}
    </section>
  );
}
