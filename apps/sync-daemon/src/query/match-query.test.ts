import fc from "fast-check";
import { expect, test } from "vitest";

import { type QueryInputMemory, readBinaryQuery, readJsonQuery } from "./match-query.ts";
import { RequestError } from "../request/request-error.ts";

function memory(): QueryInputMemory {
  return { tokens: new Uint32Array(64), hashes: new Uint32Array(64), tokensMax: 60 };
}

function refusal(run: () => unknown): RequestError {
  try {
    run();
  } catch (error) {
    if (error instanceof RequestError) return error;
    throw error;
  }
  throw new Error("the query was taken");
}

test("JSON and binary forms of one lookup mean the same", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(0xffff_ffff), { maxLength: 60 }), (tokens) => {
      const json = memory();
      const binary = memory();
      const body = Buffer.from(Uint32Array.from(tokens).buffer);
      const fromJson = readJsonQuery(
        { model: "m", token_ids: tokens, lora_name: "l", block_size: 16, workers: ["a", "b"], top_k: 3 },
        json,
      );
      const parameters = { model: "m", lora_name: "l", block_size: "16", workers: "a,b", top_k: "3" };
      expect({ kind: "ready", query: readBinaryQuery(body, parameters, binary) }).toEqual(fromJson);
      expect(binary.tokens).toEqual(json.tokens);
    }),
  );
});

test("hashes are read low word first, from decimal, hex and little-endian bytes alike", () => {
  const json = memory();
  readJsonQuery({ model: "m", prefix_hashes: ["0x1122334455667788", "1234605616436508552"] }, json);
  expect([...json.hashes.subarray(0, 4)]).toEqual([0x55667788, 0x11223344, 0x55667788, 0x11223344]);
  const binary = memory();
  const body = Buffer.from("8877665544332211", "hex");
  expect(readBinaryQuery(body, { model: "m", input: "prefix_hashes" }, binary).count).toBe(1);
  expect([...binary.hashes.subarray(0, 2)]).toEqual([0x55667788, 0x11223344]);
});

test("an unaligned body is read as well as an aligned one", () => {
  const target = memory();
  const bytes = Buffer.alloc(9);
  bytes.writeUInt32LE(7, 1);
  bytes.writeUInt32LE(8, 5);
  readBinaryQuery(bytes.subarray(1), { model: "m" }, target);
  expect([...target.tokens.subarray(0, 2)]).toEqual([7, 8]);
});

test.each([
  [{}, "malformed_body", "model"],
  [null, "malformed_body", "body"],
  [{ model: "m" }, "contradictory_fields", "token_ids and prefix_hashes"],
  [{ model: "m", token_ids: [], prefix_hashes: [] }, "contradictory_fields", "exactly one"],
  [{ model: "m", token_ids: [1, -1] }, "malformed_body", "token_ids.1"],
  [{ model: "m", token_ids: [1.5] }, "malformed_body", "token_ids.0"],
  [{ model: "m", token_ids: [4294967296] }, "malformed_body", "token_ids.0"],
  [{ model: "m", token_ids: "1,2" }, "malformed_body", "token_ids"],
  [{ model: "m", prefix_hashes: [12] }, "malformed_body", "prefix_hashes.0"],
  [{ model: "m", prefix_hashes: ["18446744073709551616"] }, "malformed_body", "prefix_hashes.0"],
  [{ model: "m", prefix_hashes: ["1"], cache_salt: "s" }, "contradictory_fields", "cache_salt"],
  [{ model: "m", token_ids: [], top_k: 0 }, "malformed_body", "top_k"],
  [{ model: "m", token_ids: [], blocksize: 1 }, "malformed_body", "blocksize"],
  [{ model: "m", token_ids: Array(61).fill(1) }, "too_many_tokens", "61"],
])("the JSON body %j is refused as %s naming %s", (body, code, named) => {
  const error = refusal(() => readJsonQuery(body, memory()));
  expect(error.code).toBe(code);
  expect(error.message).toContain(named);
});

test.each([
  [3, { model: "m" }, "malformed_body", "multiple of 4 bytes"],
  [12, { model: "m", input: "prefix_hashes" }, "malformed_body", "multiple of 8 bytes"],
  [4, {}, "malformed_body", "model"],
  [4, { model: "m", block_size: "16.0" }, "malformed_body", "block_size"],
  [4, { model: "m", model2: "" }, "malformed_body", "model2"],
  [8, { model: "m", input: "prefix_hashes", cache_salt: "s" }, "contradictory_fields", "cache_salt"],
  [244, { model: "m" }, "too_many_tokens", "61"],
])("a binary body of %i bytes with %j is refused as %s naming %s", (bytes, parameters, code, named) => {
  const error = refusal(() => readBinaryQuery(new Uint8Array(bytes), parameters, memory()));
  expect(error.code).toBe(code);
  expect(error.message).toContain(named);
});
