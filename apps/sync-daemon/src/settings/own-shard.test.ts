/** The shard that settings and host name make. */
import { expect, test } from "vitest";

import { ownShard } from "./own-shard.ts";

test.each([
  ["kvsync-0", 0],
  ["kvsync-shards-of-8-11", 3],
  ["kvsync-5.kvsync-pods.serving.svc.cluster.local", 5],
])("the ordinal of the host name %s is shard %d of 8", (host, index) => {
  expect(ownShard({ index: "ordinal", count: 8 }, host)).toMatchObject({ index, count: 8 });
});

test.each(["kvsync", "kvsync-7d9f8b6c5-x2k4p", "12", ""])(
  "a host name without an ordinal is refused with its name: %j",
  (host) => {
    expect(() => ownShard({ index: "ordinal", count: 8 }, host)).toThrow(
      `shard.index: ordinal is not usable on the host ${JSON.stringify(host)}`,
    );
  },
);

test("a number does not depend on the host", () => {
  expect(ownShard({ index: 3, count: 8 }, "any-5")).toMatchObject({ index: 3, count: 8 });
});
