/** A rank's states over the last hour as one bar, alone or with the time spent in each below it. */
import type { ComponentChildren } from "preact";

import { duration, textOf } from "../words.ts";
import { toneOf } from "./tag.tsx";

/** A change, and the state and trust that it led to. */
interface TimelineEntry {
  /** ISO 8601. */
  readonly at: string;
  readonly state: string;
  readonly trust: string;
}

const HOUR_MS = 3_600_000;

interface TimelineProps {
  readonly entries: readonly TimelineEntry[];
  /** The right edge, milliseconds since 1970. */
  readonly end: number;
}

interface Part {
  readonly from: number;
  readonly to: number;
  readonly label: string;
  readonly tone: string;
}

/** Times within the hour, each with its state. */
function partsOf({ entries, end }: TimelineProps): Part[] {
  const start = end - HOUR_MS;
  return entries
    .map(({ at, state, trust }, i) => ({
      from: Math.max(start, Date.parse(at)),
      to: Math.min(end, Date.parse(entries[i + 1]?.at ?? new Date(end).toISOString())),
      label: state === "live" ? trust : `${state}, ${trust}`,
      tone: state === "disconnected" ? "bad" : toneOf(trust),
    }))
    .filter(({ from, to }) => to > from);
}

/** The bar alone: what it shows stands next to it in words. */
export function TimelineBar(props: TimelineProps): ComponentChildren {
  const start = props.end - HOUR_MS;
  return (
    <svg class="timeline" viewBox={`0 0 ${HOUR_MS} 14`} preserveAspectRatio="none" aria-hidden="true">
      <rect class="rest" width={HOUR_MS} height="14" />
      {partsOf(props).map(({ from, to, tone }) => (
        <rect key={from} class={`cell ${tone}`} x={from - start} width={to - from} height="14" />
      ))}
    </svg>
  );
}

/** The bar, and the time spent in each state. */
export function Timeline(props: TimelineProps): ComponentChildren {
  const spent = new Map<string, { readonly tone: string; ms: number }>();
  for (const { from, to, label, tone } of partsOf(props)) {
    const entry = spent.get(label) ?? { tone, ms: 0 };
    entry.ms += to - from;
    spent.set(label, entry);
  }
  return (
    <>
      <TimelineBar {...props} />
      <p class="legend">
        {[...spent].map(([label, { tone, ms }]) => (
          <span key={label}>
            <span class={`dot ${tone}`} aria-hidden="true" /> {label} {textOf(duration(ms / 1000))}
          </span>
        ))}
      </p>
    </>
  );
}
