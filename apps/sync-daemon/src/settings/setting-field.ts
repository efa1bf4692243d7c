/**
 * The parts of a section of the settings: zod fields that carry their other names and their
 * meaning.
 *
 * Each field has a default, so that every section may be absent. The expectation of a value is
 * written once. It is the message for every unusable value, and the column of the generated
 * reference. The schema that joins the sections is settings.ts, the reading of files, environment
 * and flags read-settings.ts.
 */

import { z } from "zod";

/** Names of a setting beside the ones made from its path. */
export interface SettingNames {
  /** A second environment name, from the operators' contract. */
  readonly env?: string;
  /** A short flag. */
  readonly flag?: string;
}

/** How a setting is given as one text, in the environment or by a flag: a scalar, a list with commas between, or not at all. */
type TextForm = "scalar" | "list" | "none";

/** What is known of each setting beside its schema. */
export interface SettingFacts extends SettingNames {
  /** What it means, one sentence. */
  readonly about: string;
  /** What is expected of a value. */
  readonly expected: string;
  /** Default: "scalar". */
  readonly textForm?: TextForm;
  /** Never shown: neither in errors nor by --print-config. */
  readonly secret?: boolean;
}

/** Facts of every setting, by its field. */
export const SETTING_FACTS: z.core.$ZodRegistry<SettingFacts> = z.registry();

/**
 * A whole number.
 *
 * @param about - what it means, one sentence.
 * @param initial - its default.
 * @param min - least.
 * @param max - most.
 * @param more - other names.
 * @returns the field.
 */
export function integer(about: string, initial: number, min: number, max: number, more: SettingNames = {}) {
  const expected = `an integer from ${min} to ${max}`;
  return z
    .int(expected)
    .min(min, expected)
    .max(max, expected)
    .default(initial)
    .register(SETTING_FACTS, { about, expected, ...more });
}

/**
 * A duration in seconds.
 *
 * @param about - what it means, one sentence.
 * @param initial - its default.
 * @param min - least.
 * @param max - most.
 * @param more - other names.
 * @returns the field.
 */
export function seconds(about: string, initial: number, min: number, max: number, more: SettingNames = {}) {
  const expected = `seconds, a number from ${min} to ${max}`;
  return z
    .number(expected)
    .min(min, expected)
    .max(max, expected)
    .default(initial)
    .register(SETTING_FACTS, { about, expected, ...more });
}

/**
 * Yes or no, or not said.
 *
 * @param about - what it means, one sentence.
 * @param initial - its default; null for not said.
 * @param more - other names.
 * @returns the field.
 */
export function flag(about: string, initial: boolean | null, more: SettingNames = {}) {
  const expected = "true or false";
  return z
    .boolean(expected)
    .nullable()
    .default(initial)
    .register(SETTING_FACTS, { about, expected, ...more });
}

/**
 * A text, or none.
 *
 * @param about - what it means, one sentence.
 * @param initial - its default.
 * @param more - other names.
 * @returns the field.
 */
export function text(about: string, initial: string | null, more: SettingNames = {}) {
  const expected = "text";
  return z
    .string(expected)
    .min(1, expected)
    .nullable()
    .default(initial)
    .register(SETTING_FACTS, { about, expected, ...more });
}

/**
 * A share of something.
 *
 * @param about - what it means, one sentence.
 * @param initial - its default.
 * @param more - other names.
 * @returns the field.
 */
export function share(about: string, initial: number, more: SettingNames = {}) {
  const expected = "a number from 0 to 1";
  return z
    .number(expected)
    .min(0, expected)
    .max(1, expected)
    .default(initial)
    .register(SETTING_FACTS, { about, expected, ...more });
}

/** What `isBaseUrl` takes. */
export const BASE_URL_EXPECTED = "a base URL, http:// or https://, without query or fragment";

/**
 * The address of an HTTP service, behind which paths are put; or none.
 *
 * @param about - what it means, one sentence.
 * @param more - other names.
 * @returns the field; none by default.
 */
export function baseUrl(about: string, more: SettingNames = {}) {
  return z
    .string(BASE_URL_EXPECTED)
    .refine(isBaseUrl, BASE_URL_EXPECTED)
    .nullable()
    .default(null)
    .register(SETTING_FACTS, { about, expected: BASE_URL_EXPECTED, ...more });
}

const LINK_URL_EXPECTED = `${BASE_URL_EXPECTED}, and without credentials`;

/**
 * A base URL that people are sent to, `null` by default. It has no name or password, which the page would show.
 *
 * @param about - what is there.
 */
export function linkUrl(about: string) {
  return z
    .string(LINK_URL_EXPECTED)
    .refine((value) => isBaseUrl(value) && !hasCredentials(value), LINK_URL_EXPECTED)
    .nullable()
    .default(null)
    .register(SETTING_FACTS, { about, expected: LINK_URL_EXPECTED });
}

/** Whether an address, which can be parsed, has a name or a password. */
export function hasCredentials(value: string): boolean {
  const { username, password } = new URL(value);
  return username !== "" || password !== "";
}

/** Whether paths can be put behind an address. */
export function isBaseUrl(value: string): boolean {
  if (!URL.canParse(value)) return false;
  const { protocol, search, hash } = new URL(value);
  return (protocol === "http:" || protocol === "https:") && search === "" && hash === "";
}

/**
 * A section: all of its settings have defaults, so it may be absent.
 *
 * @param shape - its settings by name.
 * @returns the field.
 */
export function section<Shape extends z.ZodRawShape>(shape: Shape) {
  const object = z.strictObject(shape, "a section of settings");
  return object.prefault({} as z.input<typeof object>);
}
