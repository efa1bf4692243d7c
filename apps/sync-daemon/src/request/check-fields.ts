/** Checks bodies and queries of the API against their schemas. Each error names a field and the expected value. */

import type { z } from "zod";

import { malformed, unknownField } from "./request-error.ts";

/**
 * Checks a body or query against its schema.
 *
 * @param schema - whose messages say what is expected.
 * @param value - as it came.
 * @param root - what to call the whole of it.
 * @returns the checked value.
 * @throws RequestError malformed_body, naming the first field that is wrong.
 */
export function checkFields<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  root = "body",
): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const path = (issue?.path ?? []).map(String).join(".");
  const unknownKey = issue?.code === "unrecognized_keys" ? issue.keys[0] : undefined;
  if (unknownKey !== undefined) throw unknownField(unknownKey);
  throw malformed(path === "" ? root : path, issue?.message ?? "another value");
}
