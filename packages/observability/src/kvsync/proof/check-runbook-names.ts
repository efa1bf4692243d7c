/**
 * Checks the names in runbooks. A reader types or copies them in a hurry, and only then a wrong name would show.
 *
 *  R7  Settings, environment variables, metrics and alerts in a runbook exist. Commands of kubectl have only options that their
 *      subcommand takes.
 *
 * Not here: log events (proof/check-logs.ts). Routes and subcommands of the tools, which the daemon's runbooks.test.ts compares with the daemon.
 */

import { type Artefacts, filesAt } from "../../proof/artefacts.ts";
import type { CheckedRules } from "../../proof/check-rules.ts";
import { type Problem, ProblemList } from "../../proof/problem.ts";
import { NAMESPACE } from "../namespace.ts";
import { SETTINGS_PAGE, type SettingRow, settingRows } from "./settings-table.ts";

/** CamelCase that names no alert. */
const OTHER_NAMES = new Set(["ZeroMQ", "LoRA", "ConfigMap", "StatefulSet", "StatefulSets"]);

const METRIC_NAMES = new RegExp(`(?<![\\w.])(${NAMESPACE}_[a-z0-9_]+)\\b`, "g");

/** Options of kubectl by subcommand, as `kubectl SUBCOMMAND --help` of 1.30 lists them, as far as runbooks use them. */
const KUBECTL: Readonly<Record<string, readonly string[]>> = {
  get: ["-A", "-l", "-n", "-o"],
  describe: ["-A", "-l", "-n"],
  logs: ["-l", "-n", "-c", "--prefix", "--previous", "--tail", "--since"],
  exec: ["-n", "-c", "-i", "-t"],
  "port-forward": ["-n"],
  "rollout status": ["-n", "--timeout"],
  "rollout undo": ["-n", "--to-revision"],
  "auth can-i": ["-n", "--as"],
  delete: ["-n", "-l"],
};

/**
 * Checks every runbook.
 *
 * @param artefacts - all rendered files, and the page of settings.
 * @param rules - what the check of rules found out.
 * @returns findings.
 */
export function checkRunbookNames(artefacts: Artefacts, rules: CheckedRules): readonly Problem[] {
  const found = new ProblemList();
  const settings = settingRows(artefacts.surroundings.get(SETTINGS_PAGE) ?? "");
  found.at(SETTINGS_PAGE);
  if (settings.size === 0) found.add("unreadable_file", "has no rows of settings");
  for (const [path, page] of filesAt(artefacts.files, new RegExp(`^${artefacts.project.places.runbooks}/`))) {
    found.at(path);
    const text = page.replace(/```promql[\s\S]*?```/g, "");
    checkSettings(text, settings, found);
    checkSignals(text, rules, found);
    for (const [command] of text.matchAll(/kubectl [^|;&\n]*/g))
      for (const message of kubectlProblems(command)) found.add("unknown_option", message);
  }
  return found.found;
}

function checkSettings(text: string, settings: ReadonlyMap<string, SettingRow>, found: ProblemList): void {
  const sections = new Set([...settings.keys()].map((name) => name.split(".")[0] ?? ""));
  const variables = new Set([...settings.values()].flatMap((setting) => setting.variables));
  for (const name of wordsOf(/(?<![\w./:-])([a-z]+(?:\.[a-z_]+)+)(?![\w/(])/g, text))
    if (sections.has(name.split(".")[0] ?? "") && !settings.has(name))
      found.add("unknown_setting", `${name} is no setting of ${SETTINGS_PAGE}`);
  for (const name of wordsOf(/\b((?:AIBRIX|KVSYNC)_[A-Z0-9_]+)\b/g, text))
    if (!variables.has(name)) found.add("unknown_setting", `${name} is no variable of ${SETTINGS_PAGE}`);
}

function checkSignals(text: string, rules: CheckedRules, found: ProblemList): void {
  for (const name of wordsOf(METRIC_NAMES, text))
    if (!rules.names.has(name)) found.add("unknown_metric", `${name} is not exported`);
  for (const name of wordsOf(/\b([A-Z][A-Za-z]*[a-z][A-Z]\w*)\b/g, text))
    if (!rules.alerts.has(name) && !OTHER_NAMES.has(name)) found.add("dead_runbook", `${name} is no alert`);
}

function wordsOf(pattern: RegExp, text: string): Set<string> {
  return new Set([...text.matchAll(pattern)].map(([, word = ""]) => word));
}

function kubectlProblems(command: string): string[] {
  // What follows -- is the command in the pod.
  const [own = ""] = command.split(" -- ");
  const words = own
    .replace(/'[^']*'/g, "")
    .trim()
    .split(/\s+/)
    .slice(1);
  const name = [words.slice(0, 2).join(" "), words[0] ?? ""].find((candidate) => candidate in KUBECTL);
  if (name === undefined) return [`kubectl has no subcommand ${words[0] ?? ""} that runbooks use`];
  return words
    .filter((word) => word.startsWith("-"))
    .map((word) => word.split("=")[0] ?? "")
    .filter((option) => !(KUBECTL[name] ?? []).includes(option))
    .map((option) => `kubectl ${name} has no option ${option}`);
}
