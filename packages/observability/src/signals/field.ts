/**
 * The fields of a signal (a log event, a span), as typed data. Emitting code must pass the type, and
 * the reference page shows the meaning.
 *
 *     fields { pod: text("…"), reason: oneOf(REASONS, "…") } ──▶ Facts: { pod: string; reason: "a" | "b" }
 *                                                           ├──▶ faultsOf: a line or span at run time
 *                                                           └──▶ rows of the reference
 *
 * Literal types carry the knowledge, as in definition.ts.
 */

/** What a value is. A list holds all texts that it can be. */
type FieldType = "text" | "integer" | "number" | "flag" | readonly string[];

/** One field. */
export interface Field<Type extends FieldType = FieldType> {
  readonly type: Type;
  readonly meaning: string;
  /** What `null` means; absent where it never is. */
  readonly null?: string;
  /** When the field is left out; absent where it never is. */
  readonly absent?: string;
}

/** Fields by name, in the order of the reference. */
export type Fields = Readonly<Record<string, Field>>;

/** The values of a type. */
type Plain<Type> = Type extends readonly (infer Value extends string)[]
  ? Value
  : Type extends "text"
    ? string
    : Type extends "flag"
      ? boolean
      : number;

/** The values of a field. */
type ValueOf<One extends Field> = Plain<One["type"]> | (One extends { readonly null: string } ? null : never);

/** Names of fields that may be left out. */
type OptionalName<Of extends Fields> = {
  [Name in keyof Of]: Of[Name] extends { readonly absent: string } ? Name : never;
}[keyof Of];

/** What the emitting code passes: each field, with a value of its type. */
export type Facts<Of extends Fields> = {
  readonly [Name in Exclude<keyof Of, OptionalName<Of>>]: ValueOf<Of[Name]>;
} & { readonly [Name in OptionalName<Of>]?: ValueOf<Of[Name]> };

/** `Given`, unless it has a field that `Wanted` lacks: that of a variable compiles otherwise. */
export type Exactly<Wanted, Given extends Wanted> = Given &
  Readonly<Record<Exclude<keyof Given, keyof Wanted>, never>>;

/** A value of any field. */
export type FactValue = string | number | boolean | null;

/**
 * A field of text that is not one of a few words. Never a token, a prompt, or text that a caller sent.
 *
 * @param meaning - a phrase.
 */
export function text(meaning: string): Field<"text"> {
  return { type: "text", meaning };
}

/**
 * A field of one of a few words.
 *
 * @param words - all of them.
 * @param meaning - a phrase.
 */
export function oneOf<const Words extends readonly string[]>(words: Words, meaning: string): Field<Words> {
  return { type: words, meaning };
}

/**
 * A field that counts, or numbers things.
 *
 * @param meaning - a phrase.
 */
export function integer(meaning: string): Field<"integer"> {
  return { type: "integer", meaning };
}

/**
 * A field that measures.
 *
 * @param meaning - a phrase with the unit.
 */
export function number(meaning: string): Field<"number"> {
  return { type: "number", meaning };
}

/**
 * A field that is true or false.
 *
 * @param meaning - a phrase that holds when it is true.
 */
export function flag(meaning: string): Field<"flag"> {
  return { type: "flag", meaning };
}

/**
 * The field, or `null`.
 *
 * @param field - what it is otherwise.
 * @param when - the meaning of `null`.
 */
export function orNull<const One extends Field>(field: One, when: string): One & { readonly null: string } {
  return { ...field, null: when };
}

/**
 * The field, which some signals leave out.
 *
 * @param field - what it is when it is there.
 * @param when - it is left out.
 */
export function orAbsent<const One extends Field>(
  field: One,
  when: string,
): One & { readonly absent: string } {
  return { ...field, absent: when };
}

/**
 * What is wrong with the facts of a signal, at run time: for tests that watch a running process.
 *
 * @param fields - as declared.
 * @param facts - as emitted.
 * @returns a phrase for each missing field, unknown field, and value of another type; empty when all is well.
 */
export function faultsOf(fields: Fields, facts: Readonly<Record<string, unknown>>): string[] {
  const unknown = Object.keys(facts)
    .filter((name) => !(name in fields))
    .map((name) => `${name} is not declared`);
  const wrong = Object.entries(fields).flatMap(([name, field]) => {
    if (!(name in facts)) return field.absent === undefined ? [`${name} is missing`] : [];
    const value = facts[name];
    return isOf(field, value) ? [] : [`${name} is ${JSON.stringify(value)}, expected ${typeText(field)}`];
  });
  return [...unknown, ...wrong];
}

function isOf({ type, null: nullMeaning }: Field, value: unknown): boolean {
  if (value === null) return nullMeaning !== undefined;
  if (typeof type !== "string") return typeof value === "string" && type.includes(value);
  switch (type) {
    case "text":
      return typeof value === "string";
    case "flag":
      return typeof value === "boolean";
    case "integer":
      return Number.isInteger(value);
    case "number":
      return typeof value === "number";
  }
}

/** Words that a reference lists one by one; longer lists are named elsewhere. */
const WORDS_SHOWN_MAX = 12;

/**
 * The type of a field, as a reference shows it.
 *
 * @param field - any.
 * @returns Markdown.
 */
export function typeText({ type, null: nullMeaning }: Field): string {
  const words = typeof type === "string" ? type : wordsText(type);
  return nullMeaning === undefined ? words : `${words} or \`null\``;
}

function wordsText(words: readonly string[]): string {
  if (words.length > WORDS_SHOWN_MAX) return `one of ${words.length} words`;
  return words.map((word) => `\`${word}\``).join(", ");
}
