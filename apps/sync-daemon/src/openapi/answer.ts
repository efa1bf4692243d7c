/**
 * The value that a handler returns for an answer's schema: the schema's output, sent without a
 * change.
 */

import type { z } from "zod";

type Frozen<Value> = Value extends readonly (infer Item)[]
  ? readonly Frozen<Item>[]
  : Value extends object
    ? { readonly [Key in keyof Value]: Frozen<Value[Key]> }
    : Value;

/** The answer that a schema describes. */
export type Answer<Schema extends z.ZodType> = Frozen<z.output<Schema>>;
