/**
 * The file of tokens: the callers that it admits, and the error for an unusable file, which never
 * contains a token.
 */
import { createHash } from "node:crypto";

import { expect, test } from "vitest";

import { TokenList } from "./token-list.ts";

const TOKEN = "gateway-token-0123456789";
const SHA256 = createHash("sha256").update(TOKEN).digest("hex");

test("a token is known by itself or by its digest, and nothing else is", () => {
  const list = TokenList.parse(
    `tokens:\n  - { name: gateway, scope: read, sha256: ${SHA256} }\n  - { name: ops, scope: admin, token: ops-token-0123456789 }\n`,
  );
  expect(list.size).toBe(2);
  expect(list.bearerOf(TOKEN)).toMatchObject({ name: "gateway", scope: "read" });
  expect(list.bearerOf("ops-token-0123456789")).toMatchObject({ name: "ops", scope: "admin" });
  for (const other of ["", TOKEN.slice(1), `${TOKEN} `, SHA256, TOKEN.toUpperCase()])
    expect(list.bearerOf(other)).toBeNull();
});

const entry = (fields: string): string => `tokens:\n  - { ${fields} }\n`;

test.each([
  ["", "expected a mapping with the list `tokens`"],
  ["tokens: []", "tokens: expected at least one token"],
  ["tokens: yes-0123456789abcdef", "tokens: expected a list of tokens"],
  [`- ${TOKEN}`, "expected a mapping with the list `tokens`"],
  [`tokens: [ ${TOKEN}`, "line 1: not YAML"],
  [`tokens:\n  - name: a\n    token: ${TOKEN}: x\n`, "line 3: not YAML"],
  [
    entry(`name: a b, scope: reed, token: ${TOKEN}!`),
    "tokens.0.name: expected 1-64 characters of A-Z a-z 0-9 . _ -; tokens.0.scope: expected read or admin; tokens.0.token: expected 16-1024",
  ],
  [
    `tokens:\n${"  - 7\n".repeat(10)}`,
    `tokens.0: expected a mapping with name, scope, and token or sha256; ${Array.from({ length: 7 }, (_, i) => `tokens.${i + 1}: expected a mapping with name, scope, and token or sha256; `).join("")}and 2 more`,
  ],
  [
    entry(`name: a b, scope: read, token: ${TOKEN}`),
    "tokens.0.name: expected 1-64 characters of A-Z a-z 0-9 . _ -",
  ],
  [entry(`name: a, scope: write, token: ${TOKEN}`), "tokens.0.scope: expected read or admin"],
  [entry(`name: a, scope: read`), "tokens.0: expected either token or sha256, one of the two"],
  [
    entry(`name: a, scope: read, token: ${TOKEN}, sha256: ${SHA256}`),
    "tokens.0: expected either token or sha256",
  ],
  [
    entry("name: a, scope: read, token: short"),
    "tokens.0.token: expected 16-1024 characters of A-Z a-z 0-9 - . _ ~ + / =",
  ],
  [entry(`name: a, scope: read, token: "${TOKEN} ${TOKEN}"`), "tokens.0.token: expected 16-1024 characters"],
  [entry(`name: a, scope: read, token: ${"x".repeat(1025)}`), "tokens.0.token: expected 16-1024 characters"],
  [entry(`name: a, scope: read, sha256: ${TOKEN}`), "tokens.0.sha256: expected 64 hex digits"],
  [
    entry(`name: a, scope: read, ${TOKEN}: 1`),
    "tokens.0: expected no other fields than name, scope, token, sha256",
  ],
  [
    `${entry(`name: a, scope: read, token: ${TOKEN}`)}  - { name: a, scope: admin, token: ${TOKEN}-2 }\n`,
    "tokens.1.name: a is used twice; expected unique names",
  ],
  [
    `${entry(`name: a, scope: read, token: ${TOKEN}`)}  - { name: b, scope: admin, sha256: ${SHA256} }\n`,
    "tokens.1: the token of b is used twice; expected unique tokens",
  ],
])("the file %j is refused with what was expected, and without the token", (text, message) => {
  let said = "";
  try {
    TokenList.parse(text);
  } catch (error) {
    const { message: own, stack = "", cause } = error as Error;
    expect(cause).toBeUndefined();
    expect(`${own}${stack}`).not.toContain(TOKEN);
    said = own;
  }
  expect(said.slice(0, message.length)).toBe(message);
});

test("so many tokens at most", () => {
  const many = Array.from(
    { length: 257 },
    (_, i) => `  - { name: t${i}, scope: read, token: ${TOKEN}-${i} }\n`,
  );
  expect(() => TokenList.parse(`tokens:\n${many.join("")}`)).toThrow("tokens: expected at most 256 tokens");
  expect(TokenList.parse(`tokens:\n${many.slice(1).join("")}`).size).toBe(256);
});
