/**
 * Checks that the things named on a page exist: link targets and anchors, files, scripts, programs,
 * flags, metrics, settings, variables and routes. The names come from the generated references and
 * from the sources.
 */
import { dirname, join, normalize } from "node:path";

import type { CodeInPage, LinkInPage, Page } from "../markdown.ts";
import type { Finding, Passage } from "../passage.ts";

/** Names that exist in the tree. */
export interface KnownNames {
  /** Files and folders, from the root. */
  readonly paths: ReadonlySet<string>;
  /** Anchors by Markdown file. */
  readonly anchors: ReadonlyMap<string, ReadonlySet<string>>;
  readonly metrics: ReadonlySet<string>;
  /** Sections of settings and their keys, `section.key`. */
  readonly settings: ReadonlySet<string>;
  /** Spans of traces and their attributes, which look like settings. */
  readonly spans: ReadonlySet<string>;
  readonly variables: ReadonlySet<string>;
  /** Paths of routes; a parameter is `{}`. */
  readonly routes: ReadonlySet<string>;
  /** Flags of every program, with the dashes. */
  readonly flags: ReadonlySet<string>;
  /** Scripts by the package's name; the root is "". */
  readonly scripts: ReadonlyMap<string, ReadonlySet<string>>;
  /** The one way to call pnpm. */
  readonly pnpm: string;
}

type Report = (line: number, rule: string, found: string, instead: string) => void;

function checkLink(file: string, { target, line }: LinkInPage, known: KnownNames, report: Report): void {
  if (/^(?:https?|mailto):/.test(target)) return;
  const [path = "", anchor] = target.split("#");
  const absolute = path === "" ? file : normalize(join(dirname(file), path)).replace(/\/$/, "");
  if (absolute !== "." && !known.paths.has(absolute)) {
    report(line, "dead-link", target, "a file that exists");
    return;
  }
  if (anchor !== undefined && known.anchors.get(absolute)?.has(anchor) !== true)
    report(line, "dead-anchor", target, "the anchor of a heading of that page");
}

const VARIABLE = /\b(?:KVSYNC|AIBRIX)_[A-Z][A-Z0-9_]*[A-Z0-9]\b/g;
/** Variables that Kubernetes makes from the name of a service. */
const VARIABLE_OF_KUBERNETES = /_SERVICE_HOST$|^KVSYNC_PORT$/;

/** Names that begin with the same two words as a metric that exists. */
function metricPattern(metrics: ReadonlySet<string>): RegExp {
  const heads = new Set([...metrics].map((name) => name.split("_", 2).join("_")));
  return new RegExp(String.raw`\b(?:${[...heads].join("|")})_[a-z0-9_]*[a-z0-9](?![\w:])`, "g");
}

function checkMetricsAndVariables(page: Page, known: KnownNames, report: Report): void {
  const pattern = metricPattern(known.metrics);
  for (const [i, text] of page.lines.entries()) {
    for (const [metric] of text.matchAll(pattern))
      if (!known.metrics.has(metric) && !known.metrics.has(metric.replace(/_(?:bucket|count|sum)$/, "")))
        report(i + 1, "unknown-metric", metric, "a metric of docs/generated/metrics.md");
    for (const [variable] of text.matchAll(VARIABLE))
      if (!known.variables.has(variable) && !VARIABLE_OF_KUBERNETES.test(variable))
        report(i + 1, "unknown-variable", variable, "a variable of docs/generated/settings.md");
  }
}

const FILE_ENDING = /^(?:ts|md|yaml|json|mjs|js)$/;

/** Whether a name of two words with a dot begins like a setting and is none. */
function isUnknownSetting(
  text: string,
  { settings, spans }: Pick<KnownNames, "settings" | "spans">,
): boolean {
  const [, section = "", key = ""] = /^([a-z_]+)\.([a-z_]+)$/.exec(text) ?? [];
  if (section === "" || FILE_ENDING.test(key) || spans.has(text)) return false;
  const paths = [...settings];
  const isSection = paths.some((path) => path.startsWith(`${section}.`));
  return isSection && !settings.has(text) && !paths.some((path) => path.startsWith(`${text}.`));
}

/**
 * Checks the settings that a text names without backticks: descriptions of metrics and alerts, log
 * lines, errors, help.
 *
 * @param passage - the text.
 * @param known - what exists.
 * @returns the findings.
 */
export function checkSettings(
  { file, line, text }: Passage,
  known: Pick<KnownNames, "settings" | "spans">,
): readonly Finding[] {
  return [...text.matchAll(/(?<![\w./:@-])[a-z_]+\.[a-z_]+(?![\w/(-]|\.\w)/g)]
    .filter(([name]) => isUnknownSetting(name, known))
    .map(([found]) => ({
      file,
      line,
      rule: "unknown-setting",
      found,
      instead: "a setting of docs/generated/settings.md",
    }));
}

function checkSpan({ text, line }: CodeInPage, known: KnownNames, report: Report): void {
  if (isUnknownSetting(text, known))
    report(line, "unknown-setting", text, "a setting of docs/generated/settings.md");
  if (/^(?:apps|packages|docs|infra|scripts|examples)\/[\w./-]+$/.test(text) && !/[A-Z]{4}/.test(text)) {
    const path = text.replace(/\/$/, "");
    const source = path.replace("/dist/", "/src/").replace(/\.js$/, ".ts");
    if (!known.paths.has(path) && !known.paths.has(source))
      report(line, "unknown-file", text, "a file that exists");
  }
}

function checkRoutes({ text, line }: CodeInPage, known: KnownNames, report: Report): void {
  for (const [found] of text.matchAll(/(?<=^|[\s"']|\d{4}|\bkvsync)\/api\/v1\/[\w/{}:$-]*/g)) {
    const route = found.replaceAll(/\{[^}]*\}|\$\w+/g, "{}").replace(/\/$/, "");
    const isKnown = [...known.routes].some((path) =>
      new RegExp(`^${path.replaceAll("{}", "[^/]+").replaceAll("/", "\\/")}$`).test(route),
    );
    if (!isKnown) report(line, "unknown-route", found, "a route of docs/generated/openapi.json");
  }
}

const PROGRAM =
  /(?:^|[\s;|(`])(?:kvsync|kvsync-daemon|router-sim|node \S*(?:apps|packages)\/[\w-]+\/dist\/\S+)(?=\s)/;

/** A release of Helm is called as our program is; the flags are Helm's. */
const HELM = /^\s*`?helm\s/;

function checkCommand(text: string, line: number, known: KnownNames, report: Report): void {
  for (const [, script = ""] of text.matchAll(/\bnpm run ([\w:-]+)/g))
    if (known.scripts.get("")?.has(script) !== true)
      report(line, "unknown-script", script, "a script of package.json");
  for (const [, name = "", script = ""] of text.matchAll(/--filter[ =](@kvsync\/[\w-]+) (?:run )?([\w:-]+)/g))
    if (known.scripts.get(name)?.has(script) !== true)
      report(line, "unknown-script", `${name} ${script}`, "a script of that package");
}

function checkProgram(text: string, line: number, known: KnownNames, report: Report): void {
  for (const [, path = ""] of text.matchAll(/\bnode (?:\S*\/)?((?:apps|packages|scripts)\/[\w./-]+)/g)) {
    const source = path.replace("/dist/", "/src/").replace(/\.js$/, ".ts");
    if (!known.paths.has(path) && !known.paths.has(source))
      report(line, "unknown-file", path, "a program that exists");
  }
  if (PROGRAM.test(text) && !HELM.test(text))
    for (const [flag] of text.matchAll(/(?<=\s)--[a-z][a-z-]+/g))
      if (!known.flags.has(flag)) report(line, "unknown-flag", flag, "a flag that `--help` lists");
}

/** A call of pnpm in any text: comments break lines before its arguments. Sentences about pnpm have another word behind it. */
const PNPM_CALL =
  /(?:npx )?(?:--yes )?(?<![\w/.-])pnpm(?:@[\d.]+)?(?=\s+(?:(?:\*|\/\/)\s+)?(?:--?[a-z]|(?:add|bench|build|dlx|exec|install|lint|run|start|test|turbo)\b))/g;

/**
 * Checks that a text calls pnpm in the one way.
 *
 * @param file - from the root.
 * @param text - a page or a source file as it is written, its code and comments included.
 * @param pnpm - the one way.
 */
export function checkPnpm(file: string, text: string, pnpm: string): readonly Finding[] {
  return [...text.matchAll(PNPM_CALL)]
    .filter(([found]) => found !== pnpm)
    .map(({ 0: found, index }) => {
      const line = text.slice(0, index).split("\n").length;
      return { file, line, rule: "pnpm", found, instead: pnpm };
    });
}

/**
 * Checks every name of a page.
 *
 * @param page - the page.
 * @param known - what exists.
 * @returns the findings.
 */
export function checkReferences(page: Page, known: KnownNames): readonly Finding[] {
  const findings: Finding[] = [];
  const report: Report = (line, rule, found, instead) => {
    findings.push({ file: page.file, line, rule, found, instead });
  };
  for (const link of page.links) checkLink(page.file, link, known, report);
  checkMetricsAndVariables(page, known, report);
  findings.push(...checkPnpm(page.file, page.lines.join("\n"), known.pnpm));
  for (const code of page.codes) {
    if (!code.isBlock) checkSpan(code, known, report);
    checkRoutes(code, known, report);
    const commands = code.text.replaceAll(/\\\n\s*/g, " ");
    for (const [i, command] of commands.split("\n").entries())
      for (const check of [checkCommand, checkProgram]) check(command, code.line + i, known, report);
  }
  return findings;
}
