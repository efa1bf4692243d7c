/**
 * What a section of the settings is made of: zod fields that know what they are called elsewhere and what they mean.
 *
 * Each field has a default, so that every section may be absent. Texts of expectations are said once, for every way in which a value can be
 * unusable. The schema that joins the sections, and the reading of files, environment and flags, is config.ts.
 */

import { z } from "zod";

/** Names of a setting beside the ones made from its path. */
export interface SettingNames {
  /** A second environment name, from the operators' contract. */
  readonly env?: string;
  /** A short flag. */
  readonly flag?: string;
}

/** What is known of each scalar setting beside its schema. */
export const SETTING_NAMES: z.core.$ZodRegistry<SettingNames & { readonly about: string }> = z.registry();

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
    .register(SETTING_NAMES, { about, ...more });
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
    .register(SETTING_NAMES, { about, ...more });
}

/**
 * Yes or no, or not said.
 *
 * @param about - what it means, one sentence.
 * @param initial - its default; null for not said.
 * @param more - other names.
 * @returns the field.
 */
export function flag(about: string, initial: boolean | null, more: SettingNames) {
  return z
    .boolean("true or false")
    .nullable()
    .default(initial)
    .register(SETTING_NAMES, { about, ...more });
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
  return z
    .string("text")
    .min(1, "text")
    .nullable()
    .default(initial)
    .register(SETTING_NAMES, { about, ...more });
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
