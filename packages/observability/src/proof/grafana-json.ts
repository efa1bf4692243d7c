/**
 * The parts of Grafana's dashboard schema (v1) that the checks look at. Everything may be missing:
 * the checked text may come from any author.
 */

/** The parts of Grafana's schema that are looked at. */
export interface DashboardJson {
  readonly uid?: string;
  readonly title?: string;
  readonly description?: string;
  readonly editable?: boolean;
  readonly tags?: readonly string[];
  readonly templating?: { readonly list?: readonly VariableJson[] };
  readonly annotations?: {
    readonly list?: readonly AnnotationJson[];
  };
  readonly links?: readonly {
    readonly title?: string;
    readonly type?: string;
    readonly tags?: readonly string[];
    readonly keepTime?: boolean;
    readonly includeVars?: boolean;
  }[];
  readonly refresh?: string;
  readonly panels?: readonly PanelJson[];
}

/** A template variable. */
export interface VariableJson {
  readonly type?: string;
  readonly name?: string;
  readonly datasource?: { readonly uid?: string };
  readonly query?: string;
  readonly definition?: string;
  readonly multi?: boolean;
  readonly includeAll?: boolean;
  readonly allValue?: string;
  readonly refresh?: number;
}

/** A panel or a row. */
export interface PanelJson {
  readonly id?: number;
  readonly type?: string;
  readonly title?: string;
  readonly description?: string;
  /** Of a row: whether it is folded, and its panels when it is. */
  readonly collapsed?: boolean;
  readonly panels?: readonly PanelJson[];
  readonly links?: readonly { readonly title?: string; readonly url?: string }[];
  readonly datasource?: { readonly uid?: string };
  readonly gridPos?: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly TargetJson[];
  readonly transformations?: readonly {
    readonly options?: { readonly renameByName?: Readonly<Record<string, string>> };
  }[];
  readonly options?: { readonly legend?: { readonly showLegend?: boolean } };
  readonly fieldConfig?: {
    readonly defaults?: {
      readonly unit?: string;
      readonly noValue?: string;
      readonly mappings?: readonly {
        readonly options?: Readonly<Record<string, { readonly text?: string; readonly color?: string }>>;
      }[];
      readonly links?: readonly { readonly title?: string; readonly url?: string }[];
      readonly thresholds?: { readonly steps?: readonly { value: number | null; color?: string }[] };
    };
    readonly overrides?: readonly {
      readonly matcher?: { readonly options?: string };
      readonly properties?: readonly { readonly id?: string; readonly value?: unknown }[];
    }[];
  };
}

/** A query of a panel. */
export interface TargetJson {
  readonly refId?: string;
  readonly expr?: string;
  readonly legendFormat?: string;
  readonly format?: string;
  readonly instant?: boolean;
  readonly hide?: boolean;
  readonly exemplar?: boolean;
  readonly datasource?: { readonly uid?: string };
}

/** The data source that is chosen at the top of a dashboard. */
export const CHOSEN_DATASOURCE = "${datasource}";

/** The data source of the log, where a dashboard has panels of it. */
export const CHOSEN_LOG = "${loki}";

/** A query whose results are marked in every panel. */
export interface AnnotationJson {
  readonly name?: string;
  readonly enable?: boolean;
  readonly datasource?: { readonly uid?: string };
  readonly expr?: string;
  readonly titleFormat?: string;
  readonly tagKeys?: string;
}

/**
 * Headings and panels, those of folded rows too.
 *
 * @param board - as it was read.
 * @returns in reading order.
 */
export function allPanels({
  panels = [],
}: {
  readonly panels?: readonly PanelJson[] | undefined;
}): readonly PanelJson[] {
  return panels.flatMap((panel) => [panel, ...(panel.panels ?? [])]);
}

/**
 * The title of the column that a query of a table fills.
 *
 * @param panel - any.
 * @param target - one of its queries.
 * @returns the title; nothing outside tables.
 */
export function columnTitle(panel: PanelJson, target: TargetJson): string | undefined {
  const field = (panel.targets ?? []).length === 1 ? "Value" : `Value #${target.refId ?? ""}`;
  return (panel.transformations ?? []).flatMap(({ options }) => options?.renameByName?.[field] ?? [])[0];
}
