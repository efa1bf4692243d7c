/** The engines: facets, search, a table of all of them, and a drawer for one. */
import type { ComponentChildren } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { route, setParams } from "../page/route.ts";
import { connectionState, fleetSummary, followStream, hasData, now, staleness } from "../page/state.ts";
import { EngineDrawer } from "../parts/drawer.tsx";
import { HourCell, RateCell } from "../parts/hour-cells.tsx";
import { useHours } from "../parts/last-hour.tsx";
import { Panel } from "../parts/panel.tsx";
import type { Hours } from "../parts/rank-hours.ts";
import { Dot, Tag, toneOf } from "../parts/tag.tsx";
import { type Column, VirtualTable } from "../parts/virtual-table.tsx";
import type { RankRow, Tiers } from "../stream/fleet-store.ts";
import { ENGINES } from "../texts/engines.ts";
import { PANELS } from "../texts/frame.ts";
import { compareNames, type EngineSummary, TRUST_ORDER } from "../verdict/fleet-summary.ts";
import { count, duration, textOf, UNKNOWN } from "../words.ts";
import { csvOf, filterEngines, rateOf, readSort, sumOf } from "./engine-filter.ts";

/** An engine without an event for so long is idle: that is no fault. */
const IDLE_SECONDS = 30;
const COPIED_MS = 2000;

/** A row of the table: an engine, or a rank of one that is unfolded. */
interface TableRow {
  readonly engine: EngineSummary;
  readonly rank: RankRow;
  readonly isEngine: boolean;
}

/** The view. */
export function Engines(): ComponentChildren {
  followStream();
  const { params } = route.value;
  const summary = fleetSummary.value;
  const open = params.get("open");
  const shown = filterEngines(summary.engines, params);
  useKeys(open);
  return (
    <>
      <Facets engines={summary.engines} params={params} shown={shown} />
      <div class={`with-drawer ${open === null ? "" : "open"}`}>
        <EngineTable all={summary.engines} shown={shown} params={params} open={open} />
        {open === null ? null : (
          <EngineDrawer
            key={open}
            id={open}
            engine={summary.engines.find(({ id }) => id === open) ?? null}
            onClose={close}
          />
        )}
      </div>
    </>
  );
}

function close(): void {
  setParams({ open: "" });
}

/** `/` searches, Escape closes the drawer. */
function useKeys(open: string | null): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      const isTyping =
        event.target instanceof HTMLElement && event.target.closest("input, textarea, select, dialog");
      if (event.key === "Escape" && open !== null && !isTyping) close();
      if (event.key !== "/" || isTyping) return;
      event.preventDefault();
      document.querySelector<HTMLInputElement>("#engine-search")?.focus();
    };
    document.addEventListener("keydown", onKey);
    return () => {
      document.removeEventListener("keydown", onKey);
    };
  }, [open]);
}

function countBy(
  engines: readonly EngineSummary[],
  of: (engine: EngineSummary) => string,
): Map<string, number> {
  const counts = new Map<string, number>();
  for (const engine of engines) counts.set(of(engine), (counts.get(of(engine)) ?? 0) + 1);
  return counts;
}

function Facets({
  engines,
  params,
  shown,
}: {
  readonly engines: readonly EngineSummary[];
  readonly params: URLSearchParams;
  readonly shown: readonly EngineSummary[];
}): ComponentChildren {
  const byTrust = countBy(engines, ({ worst }) => worst.trust);
  const trust = params.get("trust");
  return (
    <div class="bar facets">
      <span class="search">
        <input
          id="engine-search"
          class="input"
          type="search"
          placeholder={ENGINES.search}
          aria-label={ENGINES.searchLabel}
          value={params.get("q") ?? ""}
          onInput={(event) => {
            setParams({ q: event.currentTarget.value });
          }}
        />
        <kbd aria-hidden="true">/</kbd>
      </span>
      <button
        type="button"
        class="facet"
        aria-pressed={trust === null}
        onClick={() => {
          setParams({ trust: "" });
        }}
      >
        <b>{ENGINES.all}</b> {count(engines.length)}
      </button>
      {TRUST_ORDER.map((name) => (
        <button
          key={name}
          type="button"
          class="facet"
          aria-pressed={trust === name}
          onClick={() => {
            setParams({ trust: trust === name ? "" : name });
          }}
        >
          <Dot tone={toneOf(name)} />
          {name} <b>{count(byTrust.get(name) ?? 0)}</b>
        </button>
      ))}
      <Choice
        name="model"
        label={ENGINES.model}
        any={ENGINES.anyModel}
        counts={countBy(engines, (engine) => engine.model)}
      />
      <Choice
        name="state"
        label={ENGINES.state}
        any={ENGINES.anyState}
        counts={countBy(engines, ({ worst }) => worst.state)}
      />
      <Choice
        name="source"
        label={ENGINES.source}
        any={ENGINES.anySource}
        counts={countBy(engines, ({ worst }) => worst.source)}
      />
      <span class="right">
        <CopyCsv engines={shown} />
      </span>
    </div>
  );
}

function Choice({
  name,
  label,
  any,
  counts,
}: {
  readonly name: string;
  readonly label: string;
  readonly any: string;
  readonly counts: ReadonlyMap<string, number>;
}): ComponentChildren {
  const chosen = route.value.params.get(name) ?? "";
  const names = [...counts.keys()].filter((value) => value !== "").sort(compareNames);
  // A filter of an old link stays visible, also when nothing has that value now.
  if (chosen !== "" && !names.includes(chosen)) names.push(chosen);
  // There is nothing to choose from.
  if (chosen === "" && names.length < 2) return null;
  return (
    <select
      class="facet"
      aria-label={label}
      value={chosen}
      onChange={(event) => {
        setParams({ [name]: event.currentTarget.value });
      }}
    >
      <option value="">{any}</option>
      {names.map((value) => (
        <option key={value} value={value}>
          {value} ({count(counts.get(value) ?? 0)})
        </option>
      ))}
    </select>
  );
}

function CopyCsv({ engines }: { readonly engines: readonly EngineSummary[] }): ComponentChildren {
  const [isCopied, setCopied] = useState(false);
  return (
    <button
      type="button"
      class="btn"
      onClick={() => {
        void navigator.clipboard.writeText(csvOf(engines)).then(() => {
          setCopied(true);
          setTimeout(() => {
            setCopied(false);
          }, COPIED_MS);
        });
      }}
    >
      {isCopied ? ENGINES.copied : ENGINES.copy}
    </button>
  );
}

function EngineTable({
  all,
  shown,
  params,
  open,
}: {
  readonly all: readonly EngineSummary[];
  readonly shown: readonly EngineSummary[];
  readonly params: URLSearchParams;
  readonly open: string | null;
}): ComponentChildren {
  const [unfolded, setUnfolded] = useState<ReadonlySet<string>>(new Set());
  const toggle = useRef((id: string): void => {
    setUnfolded((before) => {
      const after = new Set(before);
      if (!after.delete(id)) after.add(id);
      return after;
    });
  });
  const slots = useRef<readonly number[]>([]);
  const hours = useHours(slots);
  const columns = useMemo(() => columnsOf(unfolded, toggle.current, hours), [unfolded, hours]);
  const sort = readSort(params.get("sort"));
  const rows = shown.flatMap((engine): TableRow[] => [
    { engine, rank: engine.worst, isEngine: true },
    ...(unfolded.has(engine.id) ? engine.ranks.map((rank) => ({ engine, rank, isEngine: false })) : []),
  ]);
  if (!hasData.value || all.length === 0)
    return <Panel title={ENGINES.table} empty={hasData.value ? PANELS.noEngines : null} />;
  const isStale = staleness.value !== null && connectionState.value.kind !== "connecting";
  return (
    <section class={`panel ${isStale ? "is-stale" : ""}`}>
      <div class="body">
        <VirtualTable
          label={ENGINES.table}
          columns={columns}
          rows={rows}
          keyOf={({ engine, rank, isEngine }) => (isEngine ? engine.id : `${engine.id} ${rank.rank}`)}
          classOf={({ isEngine }) => (isEngine ? "" : "rank")}
          sort={sort}
          onSort={(key) => {
            setParams({ sort: sort?.key === key && sort.isAscending ? `-${key}` : key });
          }}
          onOpen={({ engine }) => {
            setParams({ open: engine.id });
          }}
          onSight={(drawn) => {
            slots.current = drawn.map(({ rank }) => rank.slot);
          }}
          open={open}
        />
      </div>
      {shown.length > 0 ? null : (
        <p class="empty">
          {ENGINES.noMatch}{" "}
          <button
            type="button"
            class="link"
            onClick={() => {
              setParams({ q: "", trust: "", state: "", model: "", source: "" });
            }}
          >
            {ENGINES.clear}
          </button>
        </p>
      )}
      <div class="foot">
        <span>
          {ENGINES.shown(count(shown.length), count(all.length))}
          {sort === null ? ENGINES.worstFirst : ""}
        </span>
        <span class="keys">{ENGINES.keys}</span>
      </div>
    </section>
  );
}

function columnsOf(
  unfolded: ReadonlySet<string>,
  toggle: (id: string) => void,
  hours: Hours,
): Column<TableRow>[] {
  const titles = ENGINES.columns;
  const number = (
    key: "gaps" | "missed" | "restarts" | "drops",
    width: number,
    leaves: number,
  ): Column<TableRow> => ({
    key,
    title: titles[key],
    width,
    leaves,
    isNumber: true,
    cell: ({ engine, rank, isEngine }) => {
      const value = isEngine ? sumOf(engine, key) : rank[key];
      return value === 0 ? <span class="idle">0</span> : count(value);
    },
  });
  return [
    {
      key: "id",
      title: titles.id,
      width: 124,
      cell: (row) => <EngineName {...row} unfolded={unfolded} toggle={toggle} />,
    },
    {
      key: "model",
      title: titles.model,
      width: 138,
      leaves: 5,
      cell: ({ engine, isEngine }) => (isEngine ? <span class="mono muted">{engine.model}</span> : ""),
    },
    { key: "state", title: titles.state, width: 116, cell: ({ rank }) => <Tag word={rank.state} /> },
    { key: "trust", title: titles.trust, width: 90, cell: ({ rank }) => <Tag word={rank.trust} /> },
    {
      key: "hour",
      title: titles.hour,
      width: 142,
      leaves: 4,
      cell: ({ rank }) => <HourCell row={rank} hours={hours} />,
    },
    {
      key: "seq",
      title: titles.seq,
      width: 96,
      leaves: 7,
      isNumber: true,
      cell: ({ rank }) => <span class="mono">{count(rank.seq)}</span>,
    },
    {
      key: "age",
      title: titles.age,
      width: 84,
      leaves: 2,
      isNumber: true,
      cell: ({ rank }) => <Age rank={rank} />,
    },
    {
      key: "tiers",
      title: titles.tiers,
      width: 104,
      leaves: 8,
      isSortable: false,
      cell: ({ rank }) => <TierBar tiers={rank.tiers} />,
    },
    {
      key: "blocks",
      title: titles.blocks,
      width: 78,
      leaves: 3,
      isNumber: true,
      cell: ({ engine, rank, isEngine }) => count(isEngine ? sumOf(engine, "blocks") : rank.blocks),
    },
    {
      key: "rate",
      title: titles.rate,
      width: 118,
      leaves: 6,
      isNumber: true,
      cell: ({ engine, rank, isEngine }) => (
        <RateCell row={rank} hours={hours} rate={isEngine ? rateOf(engine) : rank.rate} />
      ),
    },
    number("gaps", 52, 9),
    number("missed", 64, 1),
    number("restarts", 74, 10),
    number("drops", 76, 11),
  ];
}

function EngineName({
  engine,
  rank,
  isEngine,
  unfolded,
  toggle,
}: TableRow & {
  readonly unfolded: ReadonlySet<string>;
  readonly toggle: (id: string) => void;
}): ComponentChildren {
  if (!isEngine) return <span class="muted">{ENGINES.rank(rank.rank)}</span>;
  return (
    <>
      <span class="mono">{engine.id}</span>{" "}
      {engine.ranks.length === 1 ? null : (
        <button
          type="button"
          class="link"
          aria-expanded={unfolded.has(engine.id)}
          onClick={(event) => {
            event.stopPropagation();
            toggle(engine.id);
          }}
        >
          {ENGINES.ranks(engine.ranks.length)}
        </button>
      )}
    </>
  );
}

function Age({ rank }: { readonly rank: RankRow }): ComponentChildren {
  if (rank.eventAt === null) return <span class="idle">{ENGINES.never}</span>;
  const seconds = Math.max(0, (now.value - rank.eventAt) / 1000);
  // A step of the sequence number says that events arrived within the last second, and not when.
  const age = seconds < 1 ? ENGINES.now : textOf(duration(seconds));
  return seconds < IDLE_SECONDS ? age : <span class="idle">{ENGINES.idle(age)}</span>;
}

const TIER_NAMES = ["device", "host", "disk", "remote"] as const;

/** Blocks by tier as one bar. Their figures are in the drawer. */
function TierBar({ tiers }: { readonly tiers: Tiers | null }): ComponentChildren {
  if (tiers === null) return <span class="idle">{UNKNOWN}</span>;
  const sum = tiers.reduce((a, b) => a + b, 0);
  let x = 0;
  return (
    <svg class="tiers" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
      <rect class="rest" width="100" height="8" rx="2" />
      {tiers.map((blocks, i) => {
        const width = sum === 0 ? 0 : (blocks / sum) * 100;
        const at = x;
        x += width;
        return width === 0 ? null : (
          <rect key={TIER_NAMES[i]} class={TIER_NAMES[i]} x={at} width={width} height="8" />
        );
      })}
    </svg>
  );
}
