/**
 * The last hour of the ranks in sight, and their states as a bar.
 *
 *     rows in sight ─▶ slots ─each LOOK_MS: those without an answer, or with an old one─▶ GET dashboard/ranks
 *                                                                                            │
 *                                    bar ◀── kept answers, at most KEPT_MAX ◀────────────────┘
 *
 * The stream has the present of every rank, and its figures. The past of a rank is asked for while it is shown.
 *
 * Not here: cells of a table (hour-cells.tsx).
 */
import type { ComponentChildren } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import type { RankHours } from "@kvsync/client";

import { ask } from "../page/api.ts";
import { hasFeature, now } from "../page/state.ts";
import type { RankRow } from "../stream/fleet-store.ts";
import { repeat } from "./polled.ts";
import { dueSlots, hourOf, type Hours, withRanks } from "./rank-hours.ts";
import { TimelineBar } from "./timeline.tsx";

/** How often the rows in sight are looked at. */
const LOOK_MS = 500;
/** A bar moves so rarely: a pixel is some twenty seconds. */
const MOVE_MS = 5000;

/**
 * Asks for the last hour of ranks while the calling view is drawn.
 *
 * @param slots - of the ranks in sight; read again at each look.
 * @returns what is known so far, another map after each answer.
 */
export function useHours(slots: { readonly current: readonly number[] }): Hours {
  const [hours, setHours] = useState<Hours>(new Map());
  const latest = useRef(hours);
  latest.current = hours;
  useEffect(
    () =>
      repeat(
        async (signal) => {
          if (!hasFeature("engine")) return;
          const wanted = dueSlots(slots.current, latest.current, Date.now());
          if (wanted.length === 0) return;
          const { ranks } = await ask<RankHours>(`dashboard/ranks?slots=${wanted.join(",")}`, { signal });
          setHours(withRanks(latest.current, ranks, Date.now()));
        },
        () => undefined,
        LOOK_MS,
      ),
    [],
  );
  return hours;
}

/** A rank and the answers. */
export interface RankProps {
  readonly row: RankRow;
  readonly hours: Hours;
}

/** The states of a rank as a bar: the answer's, and the stream's present one. */
export function HourBar({ row, hours }: RankProps): ComponentChildren {
  const hour = hourOf(hours, row);
  const { since, state, trust } = row;
  const end = Math.ceil(now.value / MOVE_MS) * MOVE_MS;
  return useMemo(() => {
    if (hour === null) return <span class="timeline" />;
    const known = hour.timeline;
    const present = { at: new Date(since ?? 0).toISOString(), state, trust };
    const isNewer = (since ?? 0) > Date.parse(known.at(-1)?.at ?? "");
    return <TimelineBar entries={isNewer ? [...known, present] : known} end={end} />;
  }, [hour, since, state, trust, end]);
}
