/**
 * Checks the queries for lines of the log, in runbooks and on the dashboard of the log. It reads the
 * text, and imports nothing of what makes it.
 *
 *  L1  Every code in a query is an event of the project.
 *  L2  Every field in a query is one of a line of the selected events, or one that the command adds.
 *  L3  A compared word is one of its field's.
 *  L4  Every event is on the dashboard of the log.
 *  L6  A panel of the log on another dashboard compares fields that every line has. It asks the source of logs that is chosen
 *      at its top.
 *  L5  That dashboard is not editable. It asks the data source that is chosen at its top, over the
 *      range of its zoom (dashboard-linter's rules for Loki).
 */

import { COMMON_FIELDS, type LogEvents } from "../signals/log-event.ts";
import type { Fields } from "../signals/field.ts";
import { type Artefacts, filesAt } from "./artefacts.ts";
import {
  allPanels,
  CHOSEN_DATASOURCE,
  CHOSEN_LOG,
  type DashboardJson,
  type PanelJson,
} from "./grafana-json.ts";
import { type Problem, ProblemList } from "./problem.ts";

/** What a query selects and reads. */
interface QueryNames {
  readonly codes: readonly string[];
  /** Fields that are shown or extracted. */
  readonly read: readonly string[];
  /** Fields that are compared with a word. */
  readonly compared: readonly (readonly [name: string, word: string])[];
}

/**
 * Checks all of them.
 *
 * @param artefacts - all rendered files.
 * @returns findings.
 */
export function checkLogs(artefacts: Artefacts): readonly Problem[] {
  const { files, project, places } = artefacts;
  const found = new ProblemList();
  for (const [path, text] of filesAt(files, new RegExp(`^${project.places.runbooks}/`))) {
    found.at(path);
    checkRunbook(text, project.logEvents, found);
  }
  for (const [path, text] of filesAt(files, places.dashboards)) {
    found.at(path);
    for (const panel of readPanels(text))
      if (panel.datasource?.uid === CHOSEN_LOG || panel.type === "logs") checkOtherPanel(panel, found);
  }
  for (const [path, text] of filesAt(files, places.logDashboards)) {
    found.at(path);
    checkLogDashboard(text, project.logEvents, found);
  }
  return found.found;
}

/** L1, L2, L3. */
function checkRunbook(text: string, events: LogEvents, found: ProblemList): void {
  for (const [, edit = "", filter = ""] of text.matchAll(/(?:sed -nE '([^']*)' \| )?jq -sc '([^']*)'/g)) {
    const names = namesInJq(filter);
    const read = names.read.filter((name) => !edit.includes(`{"${name}":`));
    checkNames({ ...names, read }, events, found);
  }
  for (const [, query = ""] of text.matchAll(/```logql\n\s*(.*)\n/g))
    checkNames(namesInLogql(query), events, found);
}

/** L1 to L5. */
function checkLogDashboard(text: string, events: LogEvents, found: ProblemList): void {
  const shown = new Set<string>();
  for (const [, expression = ""] of text.matchAll(/"expr": "((?:[^"\\]|\\.)*)"/g)) {
    const names = namesInLogql(expression.replaceAll('\\"', '"'));
    checkNames(names, events, found);
    for (const code of names.codes) shown.add(code);
  }
  checkBoard(JSON.parse(text) as DashboardJson, found);
  for (const code of Object.keys(events))
    if (!shown.has(code))
      found.add(
        "log_event_without_panel",
        `${code} is on no panel: expected a query that reads it in a row of a dashboard`,
      );
}

/** L5. */
function checkBoard({ editable, templating, panels = [] }: DashboardJson, found: ProblemList): void {
  if (editable !== false) found.add("dashboard_editable", "must not be editable: edits would be lost");
  const [first] = templating?.list ?? [];
  if (first?.type !== "datasource" || first.name !== "datasource" || first.query !== "loki")
    found.add("dashboard_variable", "the first variable must be the Loki data source");
  for (const panel of panels) if (panel.type !== "row") checkLogPanel(panel, found);
}

function readPanels(text: string): readonly PanelJson[] {
  try {
    return allPanels(JSON.parse(text) as DashboardJson);
  } catch {
    // Reported by the check of dashboards.
    return [];
  }
}

/** L6. */
function checkOtherPanel(panel: PanelJson, found: ProblemList): void {
  checkLogPanel(panel, found, CHOSEN_LOG);
  if (!/Normal: \S/.test(panel.description ?? ""))
    found.add("panel_text", `"${panel.title ?? ""}" does not state the normal case`);
  for (const { expr = "" } of panel.targets ?? []) {
    const { read, compared } = namesInLogql(expr);
    for (const name of read)
      if (!Object.hasOwn(COMMON_FIELDS, name))
        found.add("unknown_log_field", `${name} is no field of every line`);
    for (const [name, words] of compared) {
      const type = (COMMON_FIELDS as Fields)[name]?.type;
      for (const word of words.split("|"))
        if (typeof type !== "object" || !type.includes(word))
          found.add("unknown_log_field", `${name} of a line is never "${word}"`);
    }
  }
}

/** L5. */
function checkLogPanel(
  { title = "", datasource, targets = [] }: PanelJson,
  found: ProblemList,
  source: string = CHOSEN_DATASOURCE,
): void {
  const sources = [datasource, ...targets.map((target) => target.datasource)];
  if (sources.some((one) => one?.uid !== source))
    found.add("panel_datasource", `"${title}" must ask the data source that is chosen at the top`);
  if (targets.length === 0) found.add("panel_targets", `"${title}" asks nothing`);
  if (targets.some(({ expr = "" }) => /\[(?!\$__auto\])/.test(expr)))
    found.add("panel_range", `"${title}" must use $__auto: a fixed range does not fit every zoom`);
}

function namesInJq(filter: string): QueryNames {
  const [condition = "", shown = ""] = filter.split(" | ");
  const pairs = [...condition.matchAll(/\.(\w+) == "([^"]*)"/g)].map(
    ([, name = "", word = ""]) => [name, word] as const,
  );
  return {
    codes: pairs.filter(([name]) => name === "event").map(([, word]) => word),
    read: shown.replace(/[{}()\s]/g, "").split(","),
    compared: pairs.filter(([name]) => name !== "event"),
  };
}

function namesInLogql(query: string): QueryNames {
  const [, extracted = ""] = /\| json ([^|]*)/.exec(query) ?? [];
  const pairs = [...query.matchAll(/\| (\w+)=~?"([^"]*)"/g)].map(
    ([, name = "", word = ""]) => [name, word] as const,
  );
  return {
    codes: pairs.filter(([name]) => name === "event").flatMap(([, words]) => words.split("|")),
    read: [...extracted.matchAll(/="([^"]*)"/g)].map(([, name = ""]) => name),
    compared: pairs.filter(([name]) => name !== "event"),
  };
}

function checkNames({ codes, read, compared }: QueryNames, events: LogEvents, found: ProblemList): void {
  if (codes.length === 0) found.add("unknown_log_event", "a query for lines of the log selects no event");
  for (const code of codes)
    if (!Object.hasOwn(events, code)) found.add("unknown_log_event", `${code} is no event of the log`);
  const fieldsOf = (code: string): Fields => ({ ...COMMON_FIELDS, ...events[code]?.fields });
  for (const name of read)
    if (name !== "" && !codes.some((code) => name in fieldsOf(code)))
      found.add("unknown_log_field", `${name} is no field of ${codes.join(", ")}`);
  for (const [name, word] of compared)
    for (const code of codes) {
      const type = fieldsOf(code)[name]?.type;
      if (type === undefined) found.add("unknown_log_field", `${name} is no field of ${code}`);
      else if (typeof type !== "string" && !type.includes(word))
        found.add("unknown_log_field", `${name} of ${code} is never "${word}"`);
    }
}
