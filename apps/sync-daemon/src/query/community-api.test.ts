import fc from "fast-check";
import { expect, test } from "vitest";

import { dynamoAnswer, hashTexts, mooncakeAnswer, quoteLongIntegers, registerBody } from "./community-api.ts";
import type { WorkerMatch } from "./match-answer.ts";

const row = (dp_rank: number, device: number, host = 0, disk = 0): WorkerMatch => ({
  worker: "w",
  dp_rank,
  block_size: 2,
  matched_blocks: device + host + disk,
  matched_tokens: 2 * (device + host + disk),
  tiers: { device, host, disk, remote: 0 },
  trust: "exact",
  age_seconds: 1,
});

test("tiers come out as each project defines them: Mooncake per tier, Dynamo cumulative", () => {
  const instances = new Map([
    ["1", [row(0, 2, 1, 1), row(1, 1)]],
    ["2", [row(0, 0)]],
  ]);
  expect(mooncakeAnswer(instances, "default")).toMatchObject({
    default: {
      1: { longest_matched: 8, GPU: 4, DP: { 0: 8, 1: 2 }, CPU: 2, DISK: 2 },
      2: { longest_matched: 0, GPU: 0, DP: { 0: 0 }, CPU: 0, DISK: 0 },
    },
  });
  expect(dynamoAnswer(instances)).toEqual({
    scores: { 1: { 0: 8, 1: 2 } },
    frequencies: [2, 1, 1, 1],
    instances: {
      1: { longest_matched: 8, gpu: 4, dp: { 0: 4, 1: 2 }, cpu: 6, disk: 8 },
      2: { longest_matched: 0, gpu: 0, dp: { 0: 0 }, cpu: 0, disk: 0 },
    },
  });
});

test("tokens are counted by each rank's own block size", () => {
  const coarse: WorkerMatch = { ...row(1, 1), block_size: 8, matched_tokens: 8 };
  const unmatched: WorkerMatch = { ...row(2, 0), block_size: null };
  const instances = new Map([["1", [row(0, 3), coarse, unmatched]]]);
  expect(mooncakeAnswer(instances, "default")).toMatchObject({
    default: { 1: { longest_matched: 8, GPU: 8, DP: { 0: 6, 1: 8, 2: 0 } } },
  });
  expect(dynamoAnswer(instances)).toMatchObject({
    instances: { 1: { longest_matched: 8, gpu: 8, dp: { 0: 6, 1: 8, 2: 0 } } },
  });
});

test("every integer of 64 bits survives a JSON body, and nothing in strings is touched", () => {
  const hash = fc.oneof(
    fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
    fc.bigInt({ min: -(1n << 63n), max: -1n }),
  );
  const fractions = "[0.12345678901234567,1e-12345678901234567]";
  expect(quoteLongIntegers(fractions)).toBe(fractions);
  fc.assert(
    fc.property(
      fc.array(hash),
      fc.string(),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      (hashes, name, double) => {
        const text = `{"name":${JSON.stringify(`${name}, 12345678901234567890 \\"`)},"double":${double},"hashes":[${hashes.join(" , ")}]}`;
        const parsed = JSON.parse(quoteLongIntegers(text)) as {
          name: string;
          double: number | string;
          hashes: unknown[];
        };
        expect(parsed.name).toBe(`${name}, 12345678901234567890 \\"`);
        expect(Number(parsed.double)).toBe(double === 0 ? Number(`${double}`) : double);
        expect(hashTexts(parsed.hashes, "seq_hashes").map((each) => BigInt(each))).toEqual(
          hashes.map((each) => BigInt.asUintN(64, each)),
        );
      },
    ),
  );
});

test("a string of escapes without an end costs as much time as its length, and is left alone", () => {
  const timeOf = (escapes: number): number => {
    const json = `{"name":"${'\\"'.repeat(escapes)}`;
    const begunMs = performance.now();
    expect(quoteLongIntegers(json)).toBe(json);
    return performance.now() - begunMs;
  };
  timeOf(1000);
  // A hundred times as many; with a look from each of them to the end it would be ten thousand times the time.
  const [few, many] = [timeOf(2000), timeOf(200_000)];
  expect(many).toBeLessThan(2000 * Math.max(few, 0.05));
});

test("digits and strings as long as a body can be are read, and an integer of too many digits is no hash", () => {
  const long = `{"a":"${"x".repeat(17_000_000)}","b":${"1".repeat(1000)}}`;
  expect(quoteLongIntegers(long)).toBe(long);
});

test.each([[-(2n ** 63n) - 1n], [2n ** 64n], [1.5], [null], ["1n"], ["0x"], [["1"]], [2 ** 60]])(
  "a hash that is %s is refused where it stands, by the name that the request gives it",
  (hash) => {
    const given = typeof hash === "bigint" ? String(hash) : hash;
    expect(() => hashTexts(["1", given], "block_hashes")).toThrow(
      "block_hashes.1: expected an integer of 64 bits",
    );
  },
);

test("an integer instance id is its text, and the store's own publisher is refused by its type", () => {
  const body = { instance_id: 1, endpoint: "tcp://127.0.0.1:5557", model_name: "m" };
  expect(registerBody.parse(body).instance_id).toBe("1");
  expect(registerBody.safeParse({ ...body, type: "Mooncake" }).error?.issues[0]).toMatchObject({
    path: ["type"],
    message: "vLLM or SGLang",
  });
});
