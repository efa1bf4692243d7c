/** The index: its memory against the limit, its contexts, how much of it is shared, and what limits took from it. */
import type { ComponentChildren } from "preact";

import type { IndexReport } from "@kvsync/client";

import { followStream, history, now, range } from "../page/state.ts";
import { useAddresses } from "../parts/addresses.ts";
import { BarRow } from "../parts/bar-row.tsx";
import { ChartPanel } from "../parts/chart-panel.tsx";
import { runbookUrl } from "../parts/engine-links.ts";
import { Outward } from "../parts/outward.tsx";
import { Panel } from "../parts/panel.tsx";
import { type Polled, usePolled } from "../parts/polled.ts";
import { Rich } from "../parts/rich.tsx";
import { INDEX } from "../texts/index-view.ts";
import { toneOfUse } from "../verdict/memory-use.ts";
import { bytes, count, duration, measure, percent, textOf } from "../words.ts";
import { secondsUntil } from "./forecast.ts";

const REFRESH_MS = 10_000;
const EVICTIONS_RUNBOOK = "sync-indexer-eviction-rate.md";
const UNITS = [
  { name: "GiB", size: 2 ** 30 },
  { name: "MiB", size: 2 ** 20 },
] as const;
const CLASSES = ["1", "2", "3-4", "5-8", "over_8"] as const;

type Report = Polled<IndexReport>;

/** The view. */
export function Index(): ComponentChildren {
  const polled = usePolled<IndexReport>("index", REFRESH_MS);
  return (
    <>
      <Trouble report={polled.answer} />
      <div class="two">
        <Memory {...polled} />
        <MemoryChart limit={polled.answer?.memory.limit ?? null} />
      </div>
      <Contexts {...polled} />
      <div class="two">
        <Sharing {...polled} />
        <Evictions {...polled} />
      </div>
    </>
  );
}

/** What is wrong with the index, in words; nothing where all is well. */
function Trouble({ report }: { readonly report: IndexReport | null }): ComponentChildren {
  const addresses = useAddresses();
  if (report === null) return null;
  const { memory, evictions } = report;
  const use = toneOfUse(memory.used, memory.limit);
  const times = Object.values(evictions).reduce((sum, one) => sum + one, 0);
  const [limit = ""] = Object.entries(evictions).sort(([, a], [, b]) => b - a)[0] ?? [];
  const texts = [
    use === "" ? "" : INDEX.nearlyFull(textOf(percent(memory.used / memory.limit))),
    times === 0 ? "" : INDEX.evicting(count(times), INDEX.limits[limit] ?? limit),
  ].filter((text) => text !== "");
  return texts.length === 0 ? null : (
    <div class={`banner ${use}`} role="status">
      <span>
        <Rich text={[...texts, INDEX.evictionHelp].join(" ")} />
      </span>
      {times === 0 ? null : (
        <Outward url={runbookUrl(addresses, EVICTIONS_RUNBOOK)} text={INDEX.runbook} isButton />
      )}
    </div>
  );
}

/** What every panel of a report has in common. */
function stateOf({ answer, failure, again }: Report) {
  return { isReady: answer !== null, failure: answer === null ? failure : null, onRetry: again };
}

function Memory(polled: Report): ComponentChildren {
  const memory = polled.answer?.memory;
  const share = memory === undefined ? 0 : memory.used / memory.limit;
  return (
    <Panel
      title={INDEX.memory}
      {...stateOf(polled)}
      aside={
        memory === undefined ? null : INDEX.memoryOf(textOf(bytes(memory.used)), textOf(bytes(memory.limit)))
      }
    >
      <div class="pad">
        <div class="gauge">
          <i
            class={toneOfUse(memory?.used ?? 0, memory?.limit ?? 0)}
            style={{ width: `${Math.min(1, share) * 100}%` }}
          />
        </div>
        <dl>
          <dt>{INDEX.used}</dt>
          <dd>{textOf(bytes(memory?.used))}</dd>
          <dt>{INDEX.share}</dt>
          <dd>{textOf(percent(share))}</dd>
          <dt>{INDEX.limit}</dt>
          <dd>{textOf(bytes(memory?.limit))}</dd>
          <dt>{INDEX.reserved}</dt>
          <dd>{textOf(bytes(memory?.reserved))}</dd>
        </dl>
        <p class="faint">{INDEX.reservedNote}</p>
        <Forecast limit={memory?.limit ?? null} />
      </div>
    </Panel>
  );
}

function Forecast({ limit }: { readonly limit: number | null }): ComponentChildren {
  followStream();
  if (limit === null) return null;
  const left = secondsUntil(history.times, history.values("memory_used"), limit);
  return <p class="muted">{left === null ? INDEX.steady : INDEX.fullIn(textOf(duration(left)))}</p>;
}

function MemoryChart({ limit }: { readonly limit: number | null }): ComponentChildren {
  followStream();
  const first = history.firstWithin(range.value);
  const used = history.values("memory_used").slice(first);
  const most = Math.max(0, ...used.map((value) => value ?? 0));
  const isNearLimit = limit !== null && most > limit / 2;
  // Whole numbers of a binary unit stand at the axis.
  const unit = UNITS.find(({ size }) => (isNearLimit ? limit : most) >= size) ?? { name: "KiB", size: 1024 };
  return (
    <ChartPanel
      title={INDEX.memoryChart}
      unit={INDEX.chartUnit(unit.name)}
      empty={used.some((value) => value !== null) ? INDEX.emptyChart : INDEX.noChart}
      isEmptyAtZero
      times={history.times.slice(first)}
      seconds={range.value}
      format={(value) => textOf(measure(value))}
      {...(isNearLimit ? { objective: { value: limit / unit.size, label: INDEX.limit } } : {})}
      series={[
        {
          label: INDEX.used,
          color: "--c4",
          values: used.map((value) => (value === null ? null : value / unit.size)),
        },
      ]}
    />
  );
}

function Contexts(polled: Report): ComponentChildren {
  const { columns } = INDEX;
  const contexts = polled.answer?.contexts ?? [];
  return (
    <Panel
      title={INDEX.contexts}
      {...stateOf(polled)}
      aside={contexts.length === 0 ? null : INDEX.contextsAside(count(contexts.length))}
      empty={contexts.length === 0 ? INDEX.noContexts : null}
    >
      <div class="scroll low" tabIndex={0} role="region" aria-label={INDEX.contexts}>
        <table>
          <thead>
            <tr>
              <th scope="col">{columns.model}</th>
              <th scope="col">{columns.adapter}</th>
              <th scope="col" class="num spare">
                {columns.blockSize}
              </th>
              <th scope="col" class="num spare">
                {columns.prefixes}
              </th>
              <th scope="col" class="num spare">
                {columns.mappings}
              </th>
              <th scope="col" class="num spare">
                {columns.copies}
              </th>
              <th scope="col" class="num">
                {columns.bytes}
              </th>
            </tr>
          </thead>
          <tbody>
            {contexts.map(({ model, lora, block_size, prefixes, mappings, bytes: size }) => (
              <tr key={`${model} ${lora ?? ""} ${block_size}`}>
                <td class="mono">{model}</td>
                <td>
                  {lora === null ? (
                    <span class="faint">{INDEX.noAdapter}</span>
                  ) : (
                    <span class="mono">{lora}</span>
                  )}
                </td>
                <td class="num spare">{count(block_size)}</td>
                <td class="num spare">{count(prefixes)}</td>
                <td class="num spare">{count(mappings)}</td>
                <td class="num spare">{textOf(measure(prefixes === 0 ? null : mappings / prefixes))}</td>
                <td class="num">{textOf(bytes(size))}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}

function Sharing(polled: Report): ComponentChildren {
  const { answer } = polled;
  const sums = CLASSES.map((name) =>
    (answer?.contexts ?? []).reduce((sum, { holders }) => sum + (holders?.[name] ?? 0), 0),
  );
  const all = sums.reduce((a, b) => a + b, 0);
  const counted = answer === null ? null : Math.max(0, now.value - Date.parse(answer.counted_at)) / 1000;
  return (
    <Panel
      title={INDEX.sharing}
      {...stateOf(polled)}
      aside={counted === null ? null : INDEX.sharingAside(textOf(duration(counted)))}
      empty={all === 0 ? INDEX.nothingCounted : null}
    >
      <div class="pad">
        {CLASSES.map((name, i) => (
          <BarRow
            key={name}
            name={INDEX.classes[name]}
            value={sums[i] ?? 0}
            most={Math.max(...sums)}
            text={count(sums[i])}
            tone="device"
          />
        ))}
        <p class="muted">
          <Rich text={INDEX.sharedShare(textOf(percent((all - (sums[0] ?? 0)) / Math.max(1, all))))} />
        </p>
      </div>
    </Panel>
  );
}

function Evictions(polled: Report): ComponentChildren {
  const rows = Object.entries(polled.answer?.evictions ?? {}).sort(([, a], [, b]) => b - a);
  const most = Math.max(0, ...rows.map(([, times]) => times));
  return (
    <Panel
      title={INDEX.evictions}
      {...stateOf(polled)}
      aside={INDEX.evictionsAside}
      empty={most === 0 ? INDEX.noEvictions : null}
    >
      <div class="pad">
        {rows.map(([name, times]) => (
          <BarRow
            key={name}
            name={<Rich text={INDEX.limits[name] ?? name} />}
            value={times}
            most={most}
            text={count(times)}
          />
        ))}
      </div>
    </Panel>
  );
}
