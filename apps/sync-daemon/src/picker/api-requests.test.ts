import { describe, expect, it } from "vitest";

import { ApiRequests, type PickReply } from "./api-requests.ts";
import type { OpenSession } from "./picker-server.ts";
import type { Decision } from "./session.ts";

const ASKED = { path: "/v1/completions", body: Buffer.from("{}"), subset: null };
const PICK: Decision = {
  kind: "pick",
  answer: { destination: "10.0.0.1:1,10.0.0.2:1", setHeaders: [], removeHeaders: [], facts: { worker: "a" } },
  leaves: false,
};

function world(openMax = 3) {
  const clock = { nowMs: 0 };
  const over: [number, string][] = [];
  const news: unknown[] = [];
  const answer: { with: (session: OpenSession) => void } = { with: (session) => session.decide(PICK) };
  const api = new ApiRequests(
    {
      ask: (session) => {
        const explanation = { promptTokens: 7, reason: "none", missingShards: [], ranking: [] };
        if (session.explain?.(explanation) !== "leave") answer.with(session);
      },
      served: ({ id }, endpoint) => news.push([id, endpoint]),
      cachedTokens: (id, tokens) => news.push([id, tokens]),
      over: ({ id }, end) => over.push([id, end]),
    },
    { prefix: "p-", openMax, openMs: 1000 },
    () => clock.nowMs,
  );
  return { api, clock, over, news, answer };
}

const idOf = (reply: PickReply): string => (reply.kind === "picked" ? reply.id : reply.kind);

describe("picks over HTTP", () => {
  it("A1: end once, by their router or by their age", async () => {
    const { api, clock, over } = world();
    const [first, second] = [idOf(await api.pick(ASKED)), idOf(await api.pick(ASKED))];
    expect([first, second]).toEqual(["p-1", "p-2"]);
    expect([api.end(first, {}), api.end(first, {}), api.end("other-2", {})]).toEqual([true, false, false]);
    clock.nowMs = 1000;
    api.expire();
    api.expire();
    expect([api.openCount, api.expiredCount, api.end(second, {})]).toEqual([0, 1, false]);
    expect(over.map(([, end]) => end)).toEqual(["complete", "client"]);
    expect(new Set(over.map(([id]) => id)).size).toBe(2);
  });

  it("pass on who answered, and the engine's own count, once", async () => {
    const { api, news } = world();
    const id = idOf(await api.pick(ASKED));
    api.end(id, { served: "10.0.0.2:1", cached_tokens: 32 });
    api.end(id, { served: "10.0.0.1:1", cached_tokens: 64 });
    api.end(idOf(await api.pick(ASKED)), { cached_tokens: null });
    expect(news.map((one) => (one as unknown[])[1])).toEqual(["10.0.0.2:1", 32]);
  });

  it("A2: are bounded, and there is room again when one ends", async () => {
    const { api } = world(1);
    const id = idOf(await api.pick(ASKED));
    expect(idOf(await api.pick(ASKED))).toBe("picks_full");
    api.end(id, {});
    expect(idOf(await api.pick(ASKED))).toBe("p-2");
  });

  it("are not booked when they are only explained, refused or failed", async () => {
    const { api, answer, over } = world();
    expect(await api.explain(ASKED)).toMatchObject({ kind: "explained", explanation: { promptTokens: 7 } });
    const refusal = { status: 503, headers: [], body: "", details: "kvsync_subset_empty" };
    answer.with = (session) => session.decide({ kind: "immediate", answer: refusal });
    expect(idOf(await api.pick(ASKED))).toBe("subset_empty");
    answer.with = () => {
      throw new Error("broken");
    };
    expect(idOf(await api.pick(ASKED))).toBe("failed");
    expect([api.openCount, over.map(([, end]) => end)]).toEqual([0, ["failed"]]);
  });
});
