import { expect, test } from "vitest";

import { engineEntry } from "./engine-entry.ts";
import { SocketClaims } from "./socket-claims.ts";

const engine = (id: string, topic: string, endpoint = "tcp://h:1") =>
  engineEntry.parse({ id, model: "m", endpoint, topic });

test.each([
  ["a", "b", undefined],
  ["kv@10.0.0.1@m", "kv@10.0.0.2@m", undefined],
  ["", "", "first"],
  ["", "a", "first"],
  ["a", "", "first"],
  ["a", "a", "first"],
  ["kv@1", "kv@10", undefined],
  ["kv@10", "kv@1", undefined],
])("engines of topics %j and %j on one socket: the second's rival is %s", (one, other, rival) => {
  const claims = new SocketClaims<string>();
  claims.add(engine("first", one), "first");
  expect(claims.rival(engine("second", other))?.owner).toBe(rival);
  expect(claims.rival(engine("second", other, "tcp://h:2"))).toBeUndefined();
  claims.remove(engine("first", one));
  expect(claims.rival(engine("second", other))).toBeUndefined();
});

test("an address at which the daemon listens for an engine is that engine's alone, whatever the topics", () => {
  const bound = { model: "m", endpoint: "tcp://0.0.0.0:5557", bind: true };
  const claims = new SocketClaims<string>();
  const first = engineEntry.parse({ ...bound, id: "first", topic: "kv@a" });
  claims.add(first, "first");
  expect(claims.rival(engineEntry.parse({ ...bound, id: "second", topic: "kv@b" }))?.owner).toBe("first");
  claims.remove(first);
  expect(claims.rival(engineEntry.parse({ ...bound, id: "second", topic: "kv@b" }))).toBeUndefined();
});
