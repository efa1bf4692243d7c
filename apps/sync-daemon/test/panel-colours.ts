/**
 * PromQL that has a result only when a panel of the committed dashboards is red, or is not what its text calls normal.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import {
  type NormalRange,
  normalRangeOf,
  normalStateOf,
  normalText,
} from "@kvsync/observability/proof/normal-range";

const FOLDER = join(import.meta.dirname, "..", "..", "..", "infra", "grafana", "dashboards");

interface Step {
  readonly value: number | null;
  readonly color: string;
}

interface TargetJson {
  readonly refId: string;
  readonly expr: string;
  readonly legendFormat?: string;
}

interface PanelJson {
  readonly title: string;
  readonly description?: string;
  readonly targets?: readonly TargetJson[];
  /** Of a folded row. */
  readonly panels?: readonly PanelJson[];
  readonly fieldConfig?: {
    readonly defaults: {
      readonly thresholds?: { readonly steps: readonly Step[] };
      readonly mappings?: readonly {
        readonly options: Readonly<Record<string, { readonly color: string; readonly text: string }>>;
      }[];
    };
    readonly overrides?: readonly {
      readonly matcher: { readonly options: string };
      readonly properties: readonly { readonly id: string; readonly value: unknown }[];
    }[];
  };
  readonly transformations?: readonly {
    readonly options: { readonly renameByName?: Readonly<Record<string, string>> };
  }[];
}

/** A query of a panel. */
export interface PanelQuery {
  /** Dashboard and panel, as a person would say it. */
  readonly where: string;
  /** PromQL, with everything selected. */
  readonly query: string;
  /** PromQL that has a result when the panel is red; null when nothing makes it red. */
  readonly red: string | null;
  /** PromQL that has a result when a value is not normal; null where the text names no range. */
  readonly abnormal: string | null;
}

/** Times and busy shares depend on the machine, and their order of magnitude does not. */
const SLACK: Readonly<Partial<Record<NormalRange["unit"], number>>> = { seconds: 100, percent: 2 };
/** Gaps between floats of one value. */
const FLOAT_SLACK = 1e-6;

/**
 * Reads the committed dashboards.
 *
 * @param rateInterval - Grafana's `$__rate_interval`.
 * @returns every query.
 */
export function panelQueries(rateInterval: string): PanelQuery[] {
  return readdirSync(FOLDER).flatMap((file) => {
    const { title, panels } = JSON.parse(readFileSync(join(FOLDER, file), "utf8")) as {
      title: string;
      panels: PanelJson[];
    };
    const all = panels.flatMap((panel) => [panel, ...(panel.panels ?? [])]);
    return all.flatMap((panel) =>
      (panel.targets ?? []).map((target) => {
        const { refId, expr } = target;
        const query = expr
          .replaceAll("$__rate_interval", rateInterval)
          .replaceAll("$__range", "30m")
          .replace(/"\$\w+"/g, '".+"');
        return {
          where: `${title} › ${panel.title} ${refId}`,
          query,
          red: redOf(panel, refId, query),
          abnormal: abnormalOf(panel, target, query),
        };
      }),
    );
  });
}

/** Mapped values go before thresholds, as in Grafana. */
function redOf(panel: PanelJson, refId: string, query: string): string | null {
  const mapped = Object.entries(panel.fieldConfig?.defaults.mappings?.[0]?.options ?? {});
  if (mapped.length > 0) {
    const red = mapped.filter(([, { color }]) => color === "red").map(([value]) => `(${query}) == ${value}`);
    return red.length === 0 ? null : red.join(" or ");
  }
  const steps = overriddenSteps(panel, refId) ?? panel.fieldConfig?.defaults.thresholds?.steps ?? [];
  const at = steps.findIndex(({ color }) => color === "red");
  const [step, next] = [steps[at], steps[at + 1]];
  if (step === undefined) return null;
  if (step.value !== null) return `(${query}) >= ${step.value}`;
  return next?.value === undefined || next.value === null ? null : `(${query}) < ${next.value}`;
}

/** What the text says first: a range, one state, or one value of a label. */
function abnormalOf(panel: PanelJson, { legendFormat = "" }: TargetJson, query: string): string | null {
  const text = normalText(panel.description ?? "");
  const range = normalRangeOf(text);
  if (range !== null) return outside(range, legendFormat, query);
  const states = Object.entries(panel.fieldConfig?.defaults.mappings?.[0]?.options ?? {});
  const state = states.find(([, named]) => text.toLowerCase().startsWith(named.text.toLowerCase()));
  if (state !== undefined) return `(${query}) != ${state[0]}`;
  const all = normalStateOf(text);
  const label = /^\{\{(\w+)\}\}$/.exec(legendFormat)?.[1];
  if (all === null || label === undefined) return null;
  const chosen = `label_replace(vector(1), "${label}", "${all.value}", "", "")`;
  return `sum((${query}) unless on (${label}) ${chosen}) > ${all.othersShare + FLOAT_SLACK} * sum(${query})`;
}

function outside(
  { low, high, isExact, quantile, unit }: NormalRange,
  legend: string,
  query: string,
): string | null {
  if (quantile !== null && !legend.includes(quantile)) return null;
  const slack = isExact ? 1 : (SLACK[unit] ?? 1);
  return [
    ...(low === null ? [] : [`(${query}) < ${low / slack - FLOAT_SLACK}`]),
    ...(high === null ? [] : [`(${query}) > ${high * slack + FLOAT_SLACK}`]),
  ].join(" or ");
}

/** Columns of tables have thresholds of their own, by title. */
function overriddenSteps(panel: PanelJson, refId: string): readonly Step[] | null {
  const names = panel.transformations?.find(({ options }) => options.renameByName !== undefined);
  const title = names?.options.renameByName?.[`Value #${refId}`];
  const override = panel.fieldConfig?.overrides?.find(({ matcher }) => matcher.options === title);
  const thresholds = override?.properties.find(({ id }) => id === "thresholds")?.value;
  return thresholds === undefined ? null : (thresholds as { steps: readonly Step[] }).steps;
}
