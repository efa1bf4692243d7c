/**
 * Which values make a panel of the committed dashboards red, as PromQL that has a result only then.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const FOLDER = join(import.meta.dirname, "..", "..", "..", "infra", "grafana", "dashboards");

interface Step {
  readonly value: number | null;
  readonly color: string;
}

interface PanelJson {
  readonly title: string;
  readonly targets?: readonly { readonly refId: string; readonly expr: string }[];
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
}

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
    return panels.flatMap((panel) =>
      (panel.targets ?? []).map(({ refId, expr }) => {
        const query = expr
          .replaceAll("$__rate_interval", rateInterval)
          .replaceAll("$__range", "30m")
          .replace(/"\$\w+"/g, '".+"');
        return { where: `${title} › ${panel.title} ${refId}`, query, red: redOf(panel, refId, query) };
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

/** Columns of tables have thresholds of their own, by title. */
function overriddenSteps(panel: PanelJson, refId: string): readonly Step[] | null {
  const names = panel.transformations?.find(({ options }) => options.renameByName !== undefined);
  const title = names?.options.renameByName?.[`Value #${refId}`];
  const override = panel.fieldConfig?.overrides?.find(({ matcher }) => matcher.options === title);
  const thresholds = override?.properties.find(({ id }) => id === "thresholds")?.value;
  return thresholds === undefined ? null : (thresholds as { steps: readonly Step[] }).steps;
}
