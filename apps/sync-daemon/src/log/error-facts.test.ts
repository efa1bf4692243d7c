/** The facts that the log states about an error, and those that it omits. */
import { expect, test } from "vitest";

import { errorFacts } from "./error-facts.ts";

function thrownBy(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}

test("an error's type, code, message and place are told", () => {
  const error = Object.assign(new TypeError("x is not a function"), { code: "ERR_X" });
  expect(errorFacts(error)).toMatchObject({
    error_type: "TypeError",
    error_code: "ERR_X",
    error_message: "x is not a function",
    stack: expect.stringContaining("error-facts.test.ts") as string,
  });
});

test("text that could not be parsed is not repeated, neither in the message nor at the head of the stack", () => {
  const error = thrownBy(() => JSON.parse('{"prompt": my secret prompt}') as unknown);
  expect((error as Error).message).toContain("my secret");
  expect(JSON.stringify(errorFacts(error))).not.toContain("secret");
});

test("a thrown thing that is no error is told by its type alone", () => {
  expect(errorFacts("my secret prompt")).toEqual({ error_type: "string" });
});
