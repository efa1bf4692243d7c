/** The form of a lookup, from text to body. */
import { execFileSync } from "node:child_process";

import { describe, expect, it } from "vitest";

import { curlOf, MATCHES_MAX, pickerBodyOf, readInput } from "./prompt-input.ts";

describe("the form of a lookup", () => {
  it("sends a prompt as it is, with its model and adapter", () => {
    expect(readInput("prompt", " two  spaces\n", " llama ", "")).toEqual({
      kind: "body",
      body: { model: "llama", prompt: " two  spaces\n", top_k: MATCHES_MAX },
    });
    expect(readInput("prompt", "x", "llama", "sql")).toMatchObject({ body: { lora_name: "sql" } });
  });

  it("reads token ids with commas, spaces, lines and brackets", () => {
    expect(readInput("tokens", "[1, 15043,\n29892\t3186]", "m", "")).toMatchObject({
      body: { token_ids: [1, 15043, 29892, 3186] },
    });
    expect(readInput("tokens", "4294967295", "m", "")).toMatchObject({ kind: "body" });
  });

  it.each(["1,x", "-1", "1.5", "4294967296", "99999999999", "[]", "1e3"])("refuses token ids %j", (text) => {
    expect(readInput("tokens", text, "m", "")).toMatchObject({ kind: "fault" });
  });

  it.each(["{}", "[]", "[1]", '[{"content":"x"}]', "no json"])("refuses messages %j", (text) => {
    expect(readInput("messages", text, "m", "")).toMatchObject({ kind: "fault" });
  });

  it("takes messages as they are", () => {
    expect(readInput("messages", '[{"role":"user","content":"hi"}]', "m", "")).toMatchObject({
      body: { messages: [{ role: "user", content: "hi" }] },
    });
  });

  it("asks for a model and for an input", () => {
    expect(
      [readInput("prompt", "x", " ", ""), readInput("tokens", " ", "m", "")].map(({ kind }) => kind),
    ).toEqual(["fault", "fault"]);
  });

  it("asks the picker without what it does not take, and an adapter as the model", () => {
    expect(pickerBodyOf({ model: "m", lora_name: "sql", token_ids: [1], top_k: 5 })).toEqual({
      model: "sql",
      token_ids: [1],
    });
    expect(pickerBodyOf({ model: "m", prompt: "x", top_k: 5 })).toEqual({ model: "m", prompt: "x" });
  });

  it("is for a shell what it is for the page, and never has the token", () => {
    const body = { model: "m", prompt: `it's "quoted" $HOME \\n` };
    const line = curlOf(new URL("http://127.0.0.1:1/api/v1/match"), body, true);
    const seen = execFileSync("sh", ["-c", line.replace(/^curl/, "printf '%s\\n'")], {
      encoding: "utf8",
      env: { TOKEN: "t0" },
    }).split("\n");
    expect(seen[0]).toBe("http://127.0.0.1:1/api/v1/match");
    expect(seen).toContain("authorization: Bearer t0");
    expect(line).not.toContain("t0");
    expect(JSON.parse(seen.at(-2) ?? "")).toEqual(body);
  });
});
