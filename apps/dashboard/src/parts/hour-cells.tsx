/** Cells of a rank's last hour: its states and its events, each with a figure. */
import type { ComponentChildren } from "preact";
import { useMemo } from "preact/hooks";

import { ENGINES } from "../texts/engines.ts";
import { measure, percent, textOf, UNKNOWN } from "../words.ts";
import { HourBar, type RankProps } from "./last-hour.tsx";
import { hourOf } from "./rank-hours.ts";
import { Spark } from "./spark.tsx";

/** The bar, and the share of the hour that was exact. */
export function HourCell(props: RankProps): ComponentChildren {
  const { exactHour } = props.row;
  const share = textOf(percent(exactHour));
  return (
    <span class="with-figure" title={exactHour === null ? "" : ENGINES.exactFor(share)}>
      <HourBar {...props} />
      <span class={exactHour === 1 ? "idle" : ""}>{share}</span>
    </span>
  );
}

/** Events of each minute as a line, and the present rate. */
export function RateCell({
  row,
  hours,
  rate,
}: RankProps & {
  /** Per second; of the engine or of the rank. */
  readonly rate: number | null;
}): ComponentChildren {
  const values = hourOf(hours, row)?.events_per_second;
  const line = useMemo(() => {
    if (values === undefined) return <span class="spark" />;
    return <Spark values={values} color="--c2" edges={[0, Math.max(...values.map((value) => value ?? 0))]} />;
  }, [values]);
  return (
    <span class="with-figure">
      {line}
      <span class={rate === 0 ? "idle" : ""}>{rate === null ? UNKNOWN : textOf(measure(rate))}</span>
    </span>
  );
}
