/**
 * Checks what panels call normal, against their units, colors, states and labels.
 *
 *  D22 The text after "Normal:" begins with a form of normal-range.ts, or has no quantity. The form's unit is the panel's. The range is
 *      where the panel is green. The text of a panel with states begins with one that is green. Where all are of one value, a label of
 *      the query has the value.
 *
 * Not here: whether healthy daemons are within the range, which needs their scrapes.
 */

import { type Artefacts, filesAt } from "./artefacts.ts";
import type { CheckedRules } from "./check-rules.ts";
import { shapeOf } from "./expression-shape.ts";
import { allPanels, type DashboardJson, type PanelJson } from "./grafana-json.ts";
import { looseQuantity, type NormalRange, normalRangeOf, normalStateOf, normalText } from "./normal-range.ts";
import { type Problem, ProblemList } from "./problem.ts";
import { plainPromql } from "./promql-tree.ts";

/** Units of panels, by those of ranges; others count things. */
const PANEL_UNITS: Readonly<Record<string, NormalRange["unit"]>> = {
  percentunit: "percent",
  s: "seconds",
  bytes: "bytes",
};
/** Colours of what is well. */
const GOOD: ReadonlySet<string> = new Set(["green", "blue"]);

/**
 * Compares every panel's text with the panel.
 *
 * @param artefacts - all rendered files.
 * @param rules - what the check of rules found out.
 * @returns findings.
 */
export function checkNormalRanges(artefacts: Artefacts, rules: CheckedRules): readonly Problem[] {
  const found = new ProblemList();
  for (const [path, text] of filesAt(artefacts.files, artefacts.places.dashboards))
    for (const panel of panelsOf(text)) {
      found.at(`${path}: panel ${panel.id ?? 0} "${panel.title ?? ""}"`);
      for (const message of faultsOf(panel, rules)) found.add("panel_normal", message);
    }
  return found.found;
}

function panelsOf(text: string): readonly PanelJson[] {
  try {
    return allPanels(JSON.parse(text) as DashboardJson);
  } catch {
    // Reported by the check of dashboards.
    return [];
  }
}

function faultsOf(panel: PanelJson, rules: CheckedRules): string[] {
  const text = normalText(panel.description ?? "");
  const range = normalRangeOf(text);
  return [
    ...(range === null ? sentenceFaults(text) : rangeFaults(panel, range)),
    ...(range === null ? stateFaults(panel, text) : []),
    ...valueFaults(panel, text, rules),
  ];
}

function sentenceFaults(text: string): string[] {
  const quantity = looseQuantity(text);
  if (quantity === null) return [];
  return [`"${text}" has a quantity, "${quantity}": expected it first, such as "Below 20 ms" or "100 %"`];
}

function rangeFaults(panel: PanelJson, range: NormalRange): string[] {
  const { defaults } = panel.fieldConfig ?? {};
  const unit = PANEL_UNITS[defaults?.unit ?? ""] ?? "none";
  const isNothing = range.low === 0 && range.high === 0;
  const faults: string[] = [];
  if (unit !== range.unit && !isNothing && panel.type !== "table")
    faults.push(`its normal range is in ${range.unit}, and its axis in ${unit}`);
  const [low, high] = [range.low ?? 0, range.high ?? Number.POSITIVE_INFINITY];
  const steps = defaults?.thresholds?.steps ?? [];
  steps.forEach(({ value, color = "" }, i) => {
    const from = value ?? Number.NEGATIVE_INFINITY;
    const to = steps[i + 1]?.value ?? Number.POSITIVE_INFINITY;
    const overlaps = range.isExact ? low < to && from <= high : Math.max(low, from) < Math.min(high, to);
    if (!GOOD.has(color) && steps.length > 1 && overlaps)
      faults.push(`its normal range is ${color} from ${value ?? "the lowest"} on`);
  });
  return faults;
}

function stateFaults({ fieldConfig }: PanelJson, text: string): string[] {
  const states = Object.values(fieldConfig?.defaults?.mappings?.[0]?.options ?? {});
  if (states.length === 0) return [];
  const first = states
    .filter(({ text: name = "" }) => text.toLowerCase().startsWith(name.toLowerCase()))
    .sort((one, other) => (other.text?.length ?? 0) - (one.text?.length ?? 0))[0];
  if (first === undefined)
    return ["its normal state is none of its states: expected the text to begin with one"];
  return GOOD.has(first.color ?? "")
    ? []
    : [`its normal state, ${first.text ?? ""}, is ${first.color ?? "of no colour"}`];
}

function valueFaults({ targets = [] }: PanelJson, text: string, rules: CheckedRules): string[] {
  const all = normalStateOf(text);
  if (all === null) return [];
  const values = targets.flatMap(({ expr = "" }) => {
    const { shape } = shapeOf(plainPromql(expr), rules.names);
    return [...(shape?.labels ?? [])].flatMap((label) => {
      const known = shape?.values.get(label);
      return known === undefined || "named" in known ? (known?.named ?? []) : known;
    });
  });
  return values.includes(all.value)
    ? []
    : [`all are normally "${all.value}", which no label of its queries is`];
}
