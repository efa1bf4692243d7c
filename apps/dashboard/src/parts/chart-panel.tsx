/** A panel with a chart of the history, which can be shown as a table. */
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";

import { hasData, hasHistory, historyFailure } from "../page/state.ts";
import { PANELS } from "../texts/frame.ts";
import { Chart, type ChartProps, type Series } from "./chart.tsx";
import { Panel } from "./panel.tsx";

/** The panel. */
export function ChartPanel({
  title,
  unit,
  empty,
  isEmptyAtZero = false,
  ...chart
}: Omit<ChartProps, "label"> & {
  readonly title: string;
  readonly unit: string;
  readonly empty: string;
  /** Whether zeros alone are nothing to draw: their axis would have made-up numbers. The table has them. */
  readonly isEmptyAtZero?: boolean;
}): ComponentChildren {
  const hasOnly = (isSuch: (value: number | null) => boolean): boolean =>
    chart.series.every(({ values }: Series) => values.every(isSuch));
  const isEmpty = hasOnly((value) => value === null);
  const isZero = isEmptyAtZero && hasOnly((value) => value === null || value === 0);
  const [isTable, setTable] = useState(false);
  return (
    <Panel
      title={title}
      aside={
        <>
          {unit}
          {isEmpty ? null : (
            <button
              type="button"
              class="link"
              aria-label={`${title} ${isTable ? PANELS.asChart : PANELS.asTable}`}
              onClick={() => {
                setTable(!isTable);
              }}
            >
              {isTable ? PANELS.asChart : PANELS.asTable}
            </button>
          )}
        </>
      }
      isReady={hasData.value && (hasHistory.value || !isEmpty)}
      failure={isEmpty ? historyFailure.value : null}
      empty={isEmpty || (isZero && !isTable) ? empty : null}
    >
      <Chart label={`${title}, ${unit}`} isTable={isTable} {...chart} />
    </Panel>
  );
}
