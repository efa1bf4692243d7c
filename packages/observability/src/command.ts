/**
 * The command line of a project: an application's own main file calls `runCommand` with it.
 *
 *     generate [--check] [--root DIR] [--runbooks-url URL] [--grafana-url URL]
 *              [--target HOST:PORT]… [--alertmanager HOST:PORT]
 *              [--email-to ADDRESS] [--email-from ADDRESS] [--smarthost HOST:PORT]
 *              [--slack-channel TEAM=#CHANNEL]… [--pagerduty] [--alert-prefix PREFIX] [--without-group GROUP]…
 *              [--objectives FILE]
 *         writes the generated files; with --check (the default where CI=true) it lists those that are stale
 *     check
 *         checks the rendered files as proof/ does, without writing any
 *     import [--dry-run] [--dir DIR] [--example-links]
 *         writes the generated dashboards to the Grafana at GRAFANA_URL, with the token in GRAFANA_TOKEN
 *
 * Exit codes: 0 all is as it should be, 1 findings, stale files or a failed import, 2 unusable arguments or settings.
 */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

import { renamedPages } from "./documents/page-names.ts";
import { staleFiles, writeTree } from "./generated-tree.ts";
import { GrafanaApi, GrafanaError, type NamedDashboard } from "./import/grafana-api.ts";
import { importDashboards } from "./import/import-dashboards.ts";
import { type Contacts, type Project, teamsOf } from "./project.ts";
import { checkAll } from "./proof/check-all.ts";
import { describeProblems } from "./proof/problem.ts";
import { objectiveSettings } from "./rules/objective-settings.ts";
import { ALERT_NAME_LENGTH_MAX, withAlertPrefix, withoutGroups } from "./rules/shared-prometheus.ts";
import { render } from "./render.ts";

function usageOf(project: Project): string {
  return `usage: generate [--check] [--root DIR] [--runbooks-url URL] [--grafana-url URL]
                [--target HOST:PORT]… [--alertmanager HOST:PORT]
                [--email-to ADDRESS] [--email-from ADDRESS] [--smarthost HOST:PORT]
                [--slack-channel TEAM=#CHANNEL]…      TEAM is ${teamsOf(project).join(", ")}
                [--pagerduty]                         critical alerts to PagerDuty as well
                [--alert-prefix PREFIX]               before the name of every alert
                [--objectives FILE]                   settings of objectives, as JSON
                [--without-group GROUP]…              GROUP is ${project.alertGroups.map((group) => group.name).join(", ")}
       check
       import [--dry-run] [--dir DIR] [--example-links]
                with GRAFANA_URL and GRAFANA_TOKEN set`;
}

/** Something that the caller must put right; ends with exit code 2. */
class UsageError extends Error {
  override readonly name = "UsageError";
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Slashes at the end are dropped; what could not be part of a request's address, or be seen in a log, is refused. */
function addressOf(name: string, text: string | undefined): string {
  const expected = "expected an http or https address, without user, query or fragment";
  if (text === undefined || text === "") throw new UsageError(`${name} is not set; ${expected}`);
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url !== null && url.username + url.password !== "")
    throw new UsageError(`${name} carries a user or password; ${expected}`);
  if (url === null || !/^https?:$/.test(url.protocol) || /[?#\s]/.test(text))
    throw new UsageError(`${name} is "${text}"; ${expected}`);
  return text.replace(/\/+$/, "");
}

/** Never repeats the token: messages end up in logs of builds. */
function tokenOf(text: string | undefined): string {
  const token = text?.trim() ?? "";
  if (token === "") throw new UsageError("GRAFANA_TOKEN is not set; expected a service account's token");
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new UsageError(
    "GRAFANA_TOKEN has white space or other characters in it that no token has; expected a service account's token on one line",
  );
}

function matching(name: string, text: string, pattern: RegExp, expected: string): string {
  if (pattern.test(text)) return text;
  throw new UsageError(`${name} is "${text}"; expected ${expected}`);
}

const PORT_MAX = 65_535;
const HOST_PORT = /^(?:[^\s:[\]]+|\[[\da-fA-F:.]+\]):\d{1,5}$/;

function hostPort(name: string, text: string): string {
  const address = matching(name, text, HOST_PORT, "host:port");
  const port = Number(address.slice(address.lastIndexOf(":") + 1));
  if (port >= 1 && port <= PORT_MAX) return address;
  throw new UsageError(`${name} is "${text}"; expected host:port, with a port from 1 to ${PORT_MAX}`);
}

/** The channels of the teams that are named; the others keep theirs. */
function channelsOf(project: Project, texts: readonly string[]): Contacts["channels"] {
  const teams = teamsOf(project);
  const channels: Record<string, string> = { ...project.contacts.channels };
  for (const text of texts) {
    const [, team = "", channel] = /^([a-z][a-z0-9-]*)=(#[^\s#=]+)$/.exec(text) ?? [];
    if (!teams.includes(team) || channel === undefined)
      throw new UsageError(
        `--slack-channel is "${text}"; expected TEAM=#CHANNEL, where TEAM is ${teams.join(", ")}`,
      );
    channels[team] = channel;
  }
  return channels;
}

/** Alerts of the platform are often another team's, which has its own. */
function fewerGroups(project: Project, names: readonly string[]): Project {
  const known = project.alertGroups.map(({ name }) => name);
  for (const name of names)
    if (!known.includes(name))
      throw new UsageError(`--without-group is "${name}"; expected one of ${known.join(", ")}`);
  return names.length === 0 ? project : withoutGroups(project, names);
}

function alertPrefix(project: Project, prefix: string): string {
  const longest = Math.max(
    ...project.alertGroups.flatMap(({ alerts }) => alerts.map(({ name }) => name.length)),
  );
  const most = ALERT_NAME_LENGTH_MAX - longest;
  return matching(
    "--alert-prefix",
    prefix,
    new RegExp(`^(?:[A-Z][A-Za-z0-9]{0,${most - 1}})?$`),
    `a word in CamelCase of at most ${most} characters`,
  );
}

/** With the settings of a file, where there is one. */
function withObjectives(project: Project, file: string | undefined): Project {
  if (file === undefined) return project;
  const { objectives } = project;
  if (objectives === null) throw new UsageError("--objectives is given, and this project has none");
  try {
    return objectives.withSettings(objectiveSettings(parseJson(file), objectives.settings));
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(`--objectives ${file}: ${error.message}`);
    throw error;
  }
}

function generate(given: Project, rootFolder: string, args: readonly string[]): number {
  const { links, contacts, addresses } = given;
  const { values } = parseArgs({
    args: [...args],
    options: {
      check: { type: "boolean", default: process.env["CI"] === "true" },
      root: { type: "string", default: rootFolder },
      "runbooks-url": { type: "string", default: links.runbooks },
      "grafana-url": { type: "string", default: links.grafana },
      "email-to": { type: "string", default: contacts.emailTo },
      "email-from": { type: "string", default: contacts.emailFrom },
      smarthost: { type: "string", default: contacts.smarthost },
      target: { type: "string", multiple: true },
      alertmanager: { type: "string", default: addresses.alertmanager },
      "slack-channel": { type: "string", multiple: true, default: [] },
      pagerduty: { type: "boolean", default: contacts.pagerduty },
      "alert-prefix": { type: "string", default: "" },
      "without-group": { type: "string", multiple: true, default: [] },
      objectives: { type: "string" },
    },
  });
  const project = withObjectives(given, values.objectives);
  const settled: Project = {
    ...fewerGroups(project, values["without-group"]),
    links: {
      runbooks: addressOf("--runbooks-url", values["runbooks-url"]),
      grafana: addressOf("--grafana-url", values["grafana-url"]),
    },
    contacts: {
      emailTo: matching("--email-to", values["email-to"], /^\S+@\S+$/, "an e-mail address"),
      emailFrom: matching("--email-from", values["email-from"], /^\S+@\S+$/, "an e-mail address"),
      smarthost: hostPort("--smarthost", values.smarthost),
      channels: channelsOf(project, values["slack-channel"]),
      pagerduty: values.pagerduty,
    },
    addresses: {
      targets: values.target?.map((target) => hostPort("--target", target)) ?? addresses.targets,
      alertmanager: hostPort("--alertmanager", values.alertmanager),
    },
  };
  const files = new Map([
    ...withAlertPrefix(render(settled), settled, alertPrefix(settled, values["alert-prefix"])),
    ...renamedPages(values.root, settled),
  ]);
  const stale = (values.check ? staleFiles : writeTree)(values.root, settled, files);
  for (const { path, state } of stale) say(`${values.check ? "stale" : "wrote"}: ${path} (${state})`);
  if (stale.length === 0) say(`${files.size} generated files are up to date`);
  return values.check && stale.length > 0 ? 1 : 0;
}

function check(project: Project, args: readonly string[]): number {
  parseArgs({ args: [...args], options: {} });
  const files = render(project);
  const problems = checkAll(files, project);
  say(problems.length === 0 ? `${files.size} files pass every check` : describeProblems(problems));
  return problems.length === 0 ? 0 : 1;
}

async function runImport(project: Project, rootFolder: string, args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      "dry-run": { type: "boolean", default: false },
      dir: { type: "string", default: join(rootFolder, project.places.grafana, "dashboards") },
      "example-links": { type: "boolean", default: false },
    },
  });
  const base = addressOf("GRAFANA_URL", process.env["GRAFANA_URL"]);
  const token = tokenOf(process.env["GRAFANA_TOKEN"]);
  const dashboards = dashboardsIn(values.dir);
  if (!values["example-links"]) refuseExampleLinks(values.dir, dashboards);
  const api = new GrafanaApi(base, token, async (ms) => {
    await sleep(ms);
  });
  const dryRun = values["dry-run"];
  const { name, title } = project;
  const plan = { folder: { uid: name, title }, dashboards, dryRun, message: `${name}: generated dashboards` };
  const { created, updated, unchanged, failed } = await importDashboards(api, plan, say);
  say(
    `${dryRun ? "would be: " : ""}${created} created, ${updated} updated, ${unchanged} unchanged, ${failed} failed`,
  );
  return failed > 0 ? 1 : 0;
}

/** A host of RFC 2606 that nobody serves. */
const EXAMPLE_HOST = /https?:\/\/[^\s"/]*\.example(?:[:/][^\s"]*)?/;

/** Links to runbooks that lead nowhere are found during an incident, which is too late. */
function refuseExampleLinks(folder: string, dashboards: readonly NamedDashboard[]): void {
  for (const dashboard of dashboards) {
    const [link] = EXAMPLE_HOST.exec(JSON.stringify(dashboard)) ?? [];
    if (link !== undefined)
      throw new UsageError(
        `${folder}: "${dashboard.title}" links to ${link}, a placeholder; run generate with --runbooks-url, or import with --example-links`,
      );
  }
}

function dashboardsIn(folder: string): NamedDashboard[] {
  const names = readFolder(folder).filter((name) => name.endsWith(".json"));
  if (names.length === 0) throw new UsageError(`${folder} holds no dashboards; run generate first`);
  return names.sort().map((name) => {
    const path = join(folder, name);
    const dashboard = parseJson(path);
    if (isNamed(dashboard)) return dashboard;
    throw new UsageError(`${path} is no dashboard: expected an object with uid and title`);
  });
}

function readFolder(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    throw new UsageError(`--dir ${folder} cannot be read: ${describeError(error)}`, { cause: error });
  }
}

function parseJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw new UsageError(`${path} is no JSON: ${describeError(error)}`, { cause: error });
  }
}

function isNamed(json: unknown): json is NamedDashboard {
  if (typeof json !== "object" || json === null) return false;
  return "uid" in json && typeof json.uid === "string" && "title" in json && typeof json.title === "string";
}

function describeError(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/**
 * Runs one command.
 *
 * @param project - whose files are meant.
 * @param rootFolder - where they are, unless `--root` or `--dir` says otherwise.
 * @param args - the command line after the program.
 * @returns the exit code.
 */
export async function runCommand(
  project: Project,
  rootFolder: string,
  [command, ...args]: readonly string[],
): Promise<number> {
  try {
    if (command === "generate") return generate(project, rootFolder, args);
    if (command === "check") return check(project, args);
    if (command === "import") return await runImport(project, rootFolder, args);
    throw new UsageError(command === undefined ? "no command" : `unknown command "${command}"`);
  } catch (error) {
    if (error instanceof GrafanaError) {
      process.stderr.write(`${error.message}\n`);
      return 1;
    }
    const badArguments =
      error instanceof TypeError && "code" in error && String(error.code).startsWith("ERR_PARSE_ARGS");
    if (!(error instanceof UsageError) && !badArguments) throw error;
    process.stderr.write(`${error.message}\n${usageOf(project)}\n`);
    return 2;
  }
}
