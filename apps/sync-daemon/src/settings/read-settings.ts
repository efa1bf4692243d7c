/**
 * Reads the settings from three equal sources and checks them.
 *
 *   defaults  <  YAML file (--config)  <  environment (ours over the operators' name)  <  flags
 *
 * An unusable setting is named with its value, its source (flag, variable, or file and line) and
 * the usable values. All errors are reported at once, and the process then ends with exit code 2.
 * Unknown keys, flags and `KVSYNC_*` variables are refused too, since a misspelled limit is worse
 * than a refused start. The variables that Kubernetes makes for services are ignored.
 *
 * Rules between settings need usable ones. So they are judged over the rest when some are not.
 */

import { isUtf8 } from "node:buffer";
import { readFileSync, statSync } from "node:fs";
import { parseArgs } from "node:util";

import { type Document, LineCounter, parseDocument } from "yaml";
import type { z } from "zod";

import {
  SECTIONS_SCHEMA,
  SETTING_ROWS,
  type SettingRow,
  type Settings,
  SETTINGS_SCHEMA,
} from "./settings.ts";
import { defaultSnapshotFolder } from "./state-directory.ts";
import { settingsError, type ToldFault } from "./settings-error.ts";
import { whyUnreadable } from "./unreadable-file.ts";

/** What the process was asked to do. */
export type Request = "run" | "help" | "version" | "print-config" | "check-config";

/** Settings, and where they come from. */
export interface SettingsReading {
  readonly settings: Settings;
  /** As they were given: before defaults and normalising. */
  readonly given: Readonly<Record<string, unknown>>;
  /** Source by path with dots, for each setting that was given outside the file. */
  readonly sources: ReadonlyMap<string, string>;
  /** The file, when there is one. */
  readonly file: string | null;
}

/** Longest value that an error shows. */
const SHOWN_LENGTH = 200;

/** Flags that ask for something else than to run. */
const REQUESTS = ["help", "version", "print-config", "check-config"] as const;

/**
 * What the arguments ask for; settings are not looked at, so that help is there for those who need it.
 *
 * @param argv - arguments after the script's name.
 * @returns the request.
 */
export function requestOf(argv: readonly string[]): Request {
  return REQUESTS.find((name) => argv.includes(`--${name}`)) ?? "run";
}

/** Settings as far as they can be used, and what is wrong with the others. */
export interface UsableSettings {
  /** The settings, with defaults in the place of those that cannot be used; null when nothing is left of them. */
  readonly reading: SettingsReading | null;
  readonly faults: readonly ToldFault[];
}

/**
 * Reads the settings of this process.
 *
 * @param argv - arguments after the script's name.
 * @param environment - usually `process.env`.
 * @returns the settings with their sources.
 * @throws SettingsError unusable_settings, with everything that is wrong.
 */
export function readSettings(
  argv: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): SettingsReading {
  const { reading, faults } = readUsable(argv, environment);
  if (reading === null || faults.length > 0) throw settingsError(faults);
  return reading;
}

/**
 * Reads what can be used of the settings, for checks that go on after a fault.
 *
 * @param argv - arguments after the script's name.
 * @param environment - usually `process.env`.
 * @returns the settings and all faults.
 */
export function readUsable(
  argv: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): UsableSettings {
  const faults: ToldFault[] = [];
  const flags = parseFlags(argv, faults);
  const path = flags.get("config") ?? null;
  const file = path === null ? null : new SettingsFile(path, faults);
  const given = file?.values() ?? {};
  const sources = new Map<string, string>();
  const put = (row: SettingRow, value: string, source: string): void => {
    let node = given;
    for (const key of row.path.slice(0, -1)) {
      const child = node[key];
      node = node[key] =
        typeof child === "object" && child !== null ? { ...(child as Record<string, unknown>) } : {};
    }
    const key = row.path.at(-1);
    if (key !== undefined) node[key] = fromText(row, value);
    sources.set(row.path.join("."), source);
  };
  for (const row of SETTING_ROWS) {
    // The first name is ours; the operators' name counts only without it.
    for (const name of row.environment.toReversed()) {
      const value = environment[name];
      if (value !== undefined && value !== "" && !isServiceLink(name, value))
        put(row, value, `environment ${name}`);
    }
    for (const name of row.flags) {
      const value = flags.get(name);
      if (value !== undefined) put(row, value, `flag --${name}`);
    }
  }
  refuseUnknownVariables(environment, faults);
  const settings = judged(given, (issue) => {
    faults.push(...tellIssue(issue, given, sources, file));
  });
  if (settings === null) return { reading: null, faults };
  return {
    reading: { settings: withSnapshotFolder(settings, environment), given, sources, file: path },
    faults,
  };
}

/** The settings without what cannot be used of them; null when that is not possible. */
function judged(
  given: Readonly<Record<string, unknown>>,
  tell: (issue: z.core.$ZodIssue) => void,
): Settings | null {
  const whole = SETTINGS_SCHEMA.safeParse(given);
  if (whole.success) return whole.data;
  whole.error.issues.forEach(tell);
  const rest = without(given, whole.error.issues);
  const ruled = SETTINGS_SCHEMA.safeParse(rest);
  if (ruled.success) return ruled.data;
  // Those of settings that were told of come from their absence, and entries of lists have other places now.
  const isTold = ({ path }: z.core.$ZodIssue): boolean =>
    path.some((key) => typeof key === "number") ||
    whole.error.issues.some((issue) => issue.path.join(".") === path.join("."));
  ruled.error.issues.filter((issue) => !isTold(issue)).forEach(tell);
  return SECTIONS_SCHEMA.safeParse(rest).data ?? null;
}

/** A copy without the values that issues name. Of a list the whole entry goes: without one field it would have another fault. */
function without(
  given: Readonly<Record<string, unknown>>,
  issues: readonly z.core.$ZodIssue[],
): Record<string, unknown> {
  const copy = structuredClone(given);
  const paths = issues.flatMap((issue) =>
    issue.code === "unrecognized_keys" ? issue.keys.map((key) => [...issue.path, key]) : [issue.path],
  );
  // From the last entry of a list on, so that those before it keep their places.
  const placeOf = (path: readonly PropertyKey[]): number => path.find((key) => typeof key === "number") ?? -1;
  const seen = new Set<string>();
  for (const path of paths.toSorted((one, other) => placeOf(other) - placeOf(one))) {
    const index = path.findIndex((key) => typeof key === "number");
    const target = index === -1 ? path : path.slice(0, index + 1);
    const name = target.map(String).join(".");
    if (!seen.has(name)) removeAt(copy, target);
    seen.add(name);
  }
  return copy;
}

function removeAt(root: unknown, path: readonly PropertyKey[]): void {
  let node = root;
  for (const key of path.slice(0, -1))
    node =
      typeof node === "object" && node !== null ? (node as Record<PropertyKey, unknown>)[key] : undefined;
  const last = path.at(-1);
  if (Array.isArray(node) && typeof last === "number") node.splice(last, 1);
  else if (typeof node === "object" && node !== null && last !== undefined)
    Reflect.deleteProperty(node, last);
}

/** The folder of snapshots, where the settings leave it to the platform's convention. */
function withSnapshotFolder(
  settings: Settings,
  environment: Readonly<Record<string, string | undefined>>,
): Settings {
  const { snapshot, http } = settings;
  const found = snapshot.directory ?? defaultSnapshotFolder(environment, http);
  return { ...settings, snapshot: { ...snapshot, directory: snapshot.enabled === false ? null : found } };
}

function parseFlags(argv: readonly string[], faults: ToldFault[]): Map<string, string> {
  const names = new Set([...SETTING_ROWS.flatMap((row) => row.flags), "config"]);
  const options = Object.fromEntries([...names].map((name) => [name, { type: "string" as const }]));
  const refuse = (setting: string, why: string): void => {
    faults.push({
      fault: { code: "unknown_setting", setting, source: "flags" },
      line: `flags: ${setting}: ${why} (--help lists them)`,
    });
  };
  const requests = Object.fromEntries(REQUESTS.map((name) => [name, { type: "boolean" as const }]));
  const { tokens } = parseArgs({
    args: [...argv],
    options: { ...options, ...requests },
    strict: false,
    tokens: true,
  });
  const values = new Map<string, string>();
  let isAfterUnknown = false;
  for (const token of tokens) {
    if (token.kind === "option" && names.has(token.name)) {
      if (token.value === undefined || token.value === "" || /^--[a-z]/.test(token.value))
        refuse(token.rawName, "needs a value");
      else values.set(token.name, token.value);
    } else if (token.kind === "option" && !REQUESTS.some((name) => name === token.name)) {
      refuse(token.rawName, "no such flag");
    } else if (token.kind === "positional" && !isAfterUnknown) {
      refuse(token.value, "every value needs a flag before it");
    }
    isAfterUnknown = token.kind === "option" && !names.has(token.name);
  }
  return values;
}

/** Neither the parser's words nor its excerpts: a line may have a password in an address. */
const PARSING = { prettyErrors: false, logLevel: "error" } as const;
const YAML_FAULTS: Readonly<Record<string, string>> = {
  MULTIPLE_DOCS: "a second document begins; expected one",
  DUPLICATE_KEY: "a name is there twice",
  TAB_AS_INDENT: "a tab as indentation; expected spaces",
  BAD_INDENT: "a bracket is not closed, or a line is not indented far enough",
  MISSING_CHAR: "a quote, a comma, a colon or a bracket is missing",
  BLOCK_AS_IMPLICIT_KEY: "a second colon in one line; a value with a colon in it needs quotes",
  UNEXPECTED_TOKEN: "something that cannot stand here",
};
/** Of a settings file: 4,096 engines with 256 adapters each are 20 MB. */
const FILE_BYTES_MAX = 64 * 1024 * 1024;

/** A pipe is refused: it has its content once, and the file is read again while the daemon runs. */
function readSettingsFile(path: string): string {
  const found = statSync(path);
  if (found.isDirectory()) throw new Error("it is a folder, and no file");
  if (!found.isFile()) throw new Error("it is a pipe or a device, and no file");
  if (found.size > FILE_BYTES_MAX) throw new Error(`it has more than ${FILE_BYTES_MAX} bytes`);
  const content = readFileSync(path);
  if (!isUtf8(content)) throw new Error("it is not UTF-8");
  return content.toString("utf8");
}

/** undefined for aliases that cannot be resolved. */
function valuesOf(document: Document): unknown {
  try {
    return document.toJS() as unknown;
  } catch (error) {
    if (error instanceof ReferenceError) return undefined;
    throw error;
  }
}

/** The file, with the lines of what is in it. */
class SettingsFile {
  readonly #path: string;
  readonly #lines = new LineCounter();
  readonly #document: Document | null = null;
  readonly #values: Record<string, unknown> = {};

  constructor(path: string, faults: ToldFault[]) {
    this.#path = path;
    const refuse = (why: string): void => {
      faults.push({ fault: { code: "unreadable_file", path }, line: `configuration file ${path}: ${why}` });
    };
    try {
      this.#document = parseDocument(readSettingsFile(path), { ...PARSING, lineCounter: this.#lines });
      const [error] = this.#document.errors;
      if (error !== undefined) {
        const { line, col } = this.#lines.linePos(error.pos[0]);
        refuse(`line ${line}, column ${col}: ${YAML_FAULTS[error.code] ?? "is not YAML"}`);
        return;
      }
      const values = valuesOf(this.#document);
      if (values === undefined)
        refuse("its aliases name no anchor before them, or stand for too much; write the values out");
      else if (values !== null && (typeof values !== "object" || Array.isArray(values)))
        refuse("expected a mapping of settings at the top");
      else if (isCircular(values))
        refuse("an alias refers to a value that contains it; expected values that end");
      // A section whose settings are all commented out is no section.
      else
        this.#values = Object.fromEntries(Object.entries(values ?? {}).filter(([, value]) => value !== null));
    } catch (error) {
      refuse(`${whyUnreadable(error, path)}; expected a YAML file that this user can read`);
    }
  }

  values(): Record<string, unknown> {
    return { ...this.#values };
  }

  /** File and line of a path in it; of the nearest one above that is there. */
  source(path: readonly PropertyKey[]): string {
    for (let length = path.length; length > 0; length -= 1) {
      const node = this.#document?.getIn(path.slice(0, length), true) as
        | { readonly range?: readonly number[] | null }
        | undefined;
      const start = node?.range?.[0];
      if (start !== undefined) return `file ${this.#path}, line ${this.#lines.linePos(start).line}`;
    }
    return `file ${this.#path}`;
  }
}

/** Whether an alias of the file is inside of what it stands for. */
function isCircular(values: unknown): boolean {
  try {
    JSON.stringify(values);
    return false;
  } catch {
    return true;
  }
}

/** Text of the environment or a flag as what it would be in the file, so that the three mean the same. */
function fromText(row: SettingRow, value: string): unknown {
  if (row.facts.textForm === "list")
    return value
      .split(",")
      .map((part) => part.trim())
      .filter((part) => part !== "");
  if (row.isText) return value;
  if (value === "true" || value === "false") return value === "true";
  return /^-?\d+(\.\d+)?$/.test(value) ? Number(value) : value;
}

/** `{NAME}_SERVICE_HOST` and its kin, which Kubernetes sets for every service of the namespace. */
const SERVICE_LINK = /_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)$/;

/** `{NAME}_PORT` is one too when it has an address; a number there is a misspelt port. */
function isServiceLink(name: string, value: string): boolean {
  return SERVICE_LINK.test(name) || (name.endsWith("_PORT") && /^(tcp|udp|sctp):\/\//.test(value));
}

function refuseUnknownVariables(
  environment: Readonly<Record<string, string | undefined>>,
  faults: ToldFault[],
): void {
  const known = new Set(SETTING_ROWS.flatMap((row) => row.environment));
  for (const [name, value = ""] of Object.entries(environment)) {
    if (!name.startsWith("KVSYNC_") || known.has(name) || isServiceLink(name, value)) continue;
    faults.push({
      fault: { code: "unknown_setting", setting: name, source: "environment" },
      line: `environment ${name}: no such setting (--help lists them)`,
    });
  }
}

function tellIssue(
  issue: z.core.$ZodIssue,
  given: Readonly<Record<string, unknown>>,
  sources: ReadonlyMap<string, string>,
  file: SettingsFile | null,
): ToldFault[] {
  const path = issue.path.map(String);
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => {
      const setting = [...path, key].join(".");
      const source = file?.source([...issue.path, key]) ?? "settings";
      return {
        fault: { code: "unknown_setting", setting, source },
        line: `${source}: ${setting}: no such setting`,
      };
    });
  }
  const setting = path.join(".");
  const source = sources.get(setting) ?? file?.source(issue.path) ?? "settings";
  const expected = expectedOf(issue);
  const value = path.reduce<unknown>(
    (node, key) =>
      typeof node === "object" && node !== null ? (node as Record<string, unknown>)[key] : undefined,
    given,
  );
  const shown = value === undefined ? "is missing" : `${showValue(setting, value)} is not usable`;
  return [
    {
      fault: { code: "unusable_setting", setting, source, expected },
      line: `${source}: ${setting}: ${shown}; expected ${expected}`,
    },
  ];
}

/** What zod calls the kinds of a value, where a schema says nothing of its own. */
const KINDS: Readonly<Record<string, string>> = {
  object: "a mapping of names and values",
  array: "a list",
  string: "text",
  number: "a number",
  boolean: "true or false",
};

function expectedOf(issue: z.core.$ZodIssue): string {
  if (issue.code !== "invalid_type" || !issue.message.startsWith("Invalid input")) return issue.message;
  return KINDS[issue.expected] ?? issue.expected;
}

const SECRETS = new Set(
  SETTING_ROWS.filter(({ facts }) => facts.secret === true).map(({ path }) => path.join(".")),
);

/**
 * A value as it may be shown: secrets and the credentials in addresses are masked.
 *
 * @param setting - its path with dots.
 * @param value - what was given.
 * @returns one line of JSON, at most {@link SHOWN_LENGTH} characters.
 */
function showValue(setting: string, value: unknown): string {
  if (SECRETS.has(setting)) return '"***"';
  // What is unusable need not be an address: where it is unclear what of it is secret, a password with a slash or a key behind a question mark, all of it is.
  const text = JSON.stringify(value).replaceAll(/\/\/[^\s"]*[?@][^\s"]*/g, (address) =>
    /^\/\/[^/?#@]+@[^?@]*$/.test(address) ? maskCredentials(address) : "//***",
  );
  return text.length <= SHOWN_LENGTH ? text : `${text.slice(0, SHOWN_LENGTH)}…`;
}

/**
 * Hides the user and password of addresses in a text.
 *
 * @param text - any text.
 * @returns it, with `//user:password@` turned into `//***@`.
 */
export function maskCredentials(text: string): string {
  // Up to the last @ of the authority: a password may have one too.
  return text.replaceAll(/\/\/[^/?#\s"]+@/g, "//***@");
}
