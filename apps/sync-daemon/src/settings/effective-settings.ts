/**
 * `--print-config`: the settings in effect, each with its source, as a file that can be given to --config again.
 *
 * Secrets and credentials in addresses are masked; those are the only values that have to be put back.
 */

import { createHash } from "node:crypto";

import { Document, isMap, isPair, isScalar, type YAMLMap } from "yaml";

import { maskCredentials, type SettingsReading } from "./read-settings.ts";
import { SETTING_ROWS, type SettingRow, type Settings } from "./settings.ts";

const MASK = "***";

/** A setting as it may be shown. */
export interface ShownSetting {
  /** With dots. */
  readonly path: string;
  /** Masked where it is secret; the number of entries for a list of structures. */
  readonly value: unknown;
  /** Null for the default. */
  readonly source: string | null;
}

/**
 * The settings in effect, for people who may not change them.
 *
 * @param reading - settings with their sources.
 * @returns in the order of the schema.
 */
export function shownSettings(reading: SettingsReading): ShownSetting[] {
  return SETTING_ROWS.map((row) => {
    const value = valueAt(reading.settings, row);
    return {
      path: row.path.join("."),
      value: row.facts.textForm === "none" && Array.isArray(value) ? value.length : masked(row, value),
      source: sourceOf(row, reading),
    };
  });
}

/** Characters of a hash of settings: enough that two of a fleet's do not meet. */
const HASH_CHARACTERS = 12;

/**
 * A short text that is the same for the same settings in effect, wherever they come from. Secrets do not change it.
 *
 * @param settings - in effect.
 * @returns lower-case hexadecimal.
 */
export function settingsHash(settings: Settings): string {
  const shown = SETTING_ROWS.map((row) => [row.path.join("."), masked(row, valueAt(settings, row))]);
  return createHash("sha256").update(JSON.stringify(shown)).digest("hex").slice(0, HASH_CHARACTERS);
}

/**
 * Writes them.
 *
 * @param reading - settings with their sources.
 * @returns YAML, in the order of the schema.
 */
export function effectiveSettings(reading: SettingsReading): string {
  const { settings, given } = reading;
  const tree: Record<string, unknown> = {};
  for (const row of SETTING_ROWS) {
    // A list of structures is shown as it was given: checking has turned it into what the daemon works with.
    const at = row.facts.textForm === "none" ? (valueAt(given, row) ?? row.initial) : valueAt(settings, row);
    let node = tree;
    for (const key of row.path.slice(0, -1)) node = (node[key] ??= {}) as Record<string, unknown>;
    node[row.path.at(-1) ?? ""] = masked(row, at);
  }
  const document = new Document(tree);
  document.commentBefore =
    " The settings in effect, and where each was set. This file can be given to --config.";
  for (const row of SETTING_ROWS) {
    const source = sourceOf(row, reading);
    if (source !== null) comment(document.contents as YAMLMap, row.path, ` ${source}`);
  }
  return document.toString({ lineWidth: 0 });
}

function sourceOf(row: SettingRow, { given, sources, file }: SettingsReading): string | null {
  return sources.get(row.path.join(".")) ?? (valueAt(given, row) === undefined ? null : `file ${file ?? ""}`);
}

function masked({ facts }: SettingRow, value: unknown): unknown {
  if (value === null || value === undefined) return null;
  if (facts.secret === true) return MASK;
  return JSON.parse(maskCredentials(JSON.stringify(value))) as unknown;
}

function valueAt(tree: unknown, row: SettingRow): unknown {
  return row.path.reduce<unknown>(
    (node, key) =>
      typeof node === "object" && node !== null ? (node as Record<string, unknown>)[key] : undefined,
    tree,
  );
}

/** Puts a comment behind a scalar, before anything longer. */
function comment(map: YAMLMap, path: readonly string[], text: string): void {
  const [key, ...rest] = path;
  const pair = map.items.find((item) => isPair(item) && isScalar(item.key) && item.key.value === key);
  if (pair === undefined) return;
  if (rest.length > 0 && isMap(pair.value)) comment(pair.value, rest, text);
  else if (isScalar(pair.value)) pair.value.comment = text;
  else if (isScalar(pair.key)) pair.key.commentBefore = text;
}
