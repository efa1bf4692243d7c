/** Two and more pickers on a bus in memory, against each other's books. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { EndpointFleet, type PickOutcome } from "./endpoint-fleet.ts";
import {
  type PickTraits,
  readMessage,
  SharedDecisions,
  type SharedMessage,
  writeMessage,
} from "./shared-decisions.ts";

const ENDPOINTS = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"];
const ENGINES = ENDPOINTS.map((address, i) => ({
  id: `e${i}`,
  model: "m",
  http: [address],
  ranks: [{ dpRank: 0 }],
}));
const NAMES = Uint32Array.from({ length: 2048 }, (_, i) => i);

/** A picker as far as it shares; what it publishes waits in `outbox`. */
class SharingPicker {
  readonly fleet = new EndpointFleet({ capacityTokens: 100_000, rankHeader: false });
  readonly outbox: SharedMessage[] = [];
  readonly drops: string[] = [];
  readonly shared: SharedDecisions;

  constructor(name: string) {
    this.fleet.update(ENGINES);
    this.shared = new SharedDecisions(this.fleet, {
      name,
      publish: (message) => this.outbox.push(message),
      dropped: (reason) => this.drops.push(reason),
      isOwnDaemon: (other) => other.startsWith("own/"),
    });
  }

  pick(
    id: number,
    now: number,
    tokens = NAMES,
    traits: PickTraits = {},
    subset: string[] | null = null,
  ): PickOutcome {
    const names = { keys: tokens, keyWords: 1, keyTokens: 1 };
    const request = { workers: null, subset, promptTokens: tokens.length, names, holds: [], ...traits };
    const outcome = this.fleet.pick(id, request, 3, now);
    if (outcome.kind === "pick")
      this.shared.sent(id, outcome.endpoints[0].address, tokens.length, outcome.decision, traits);
    return outcome;
  }

  firstToken(id: number): void {
    this.fleet.firstToken(id);
    this.shared.firstToken(id);
  }

  over(id: number): void {
    this.fleet.end(id);
    this.shared.over(id);
  }

  loads(): readonly unknown[] {
    return this.fleet.loads().map(({ running, waiting, pendingTokens, contextTokens }) => ({
      running,
      waiting,
      pendingTokens,
      contextTokens,
    }));
  }
}

/** Brings every message to every picker, also to its sender, as it travels on the bus. */
function deliver(pickers: readonly SharingPicker[], now: number): void {
  const messages = pickers.flatMap(({ outbox }) => outbox.splice(0));
  for (const message of messages) {
    const bytes = writeMessage(message);
    const read = bytes === null ? null : readMessage(bytes);
    if (read !== null) for (const { shared } of pickers) shared.receive(read, now);
  }
}

/** The same within a daemon. */
function deliverWithin(pickers: readonly SharingPicker[], now: number): void {
  const messages = pickers.flatMap(({ outbox }) => outbox.splice(0));
  for (const message of messages)
    for (const { shared } of pickers) shared.receive(structuredClone(message), now);
}

function raw(fields: object): SharedMessage {
  const message = readMessage(Buffer.from(JSON.stringify(fields)));
  if (message === null) throw new Error("no message");
  return message;
}

describe("shared decisions", () => {
  it("H1: give two pickers the same loads, and the same next pick, once they have arrived", () => {
    const step = fc.record({
      by: fc.nat(1),
      what: fc.constantFrom("pick", "firstToken", "over"),
      id: fc.nat(5),
      first: fc.nat(3),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const pickers = [new SharingPicker("a"), new SharingPicker("b")] as const;
        const open = new Set<string>();
        let now = 0;
        for (const { by, what, id, first } of steps) {
          now += 0.1;
          const picker = pickers[by as 0 | 1];
          if (what !== "pick") picker[what](id);
          else if (!open.has(`${by}/${id}`)) picker.pick(id, now, NAMES.subarray(first * 512));
          if (what === "pick") open.add(`${by}/${id}`);
          if (what === "over") open.delete(`${by}/${id}`);
          deliver(pickers, now);
          expect(pickers[0].loads()).toEqual(pickers[1].loads());
        }
        const [one, other] = pickers.map((picker) => picker.pick(99, now + 0.1));
        expect(one).toMatchObject({ kind: "pick" });
        expect(one).toEqual(other);
        expect(pickers[0].fleet.bookingCount + pickers[1].fleet.bookingCount).toBe(open.size + 2);
      }),
    );
  });

  it("H1: count an own message that comes back as nothing", () => {
    const picker = new SharingPicker("a");
    picker.pick(1, 0);
    const before = picker.loads();
    deliver([picker], 0);
    expect(picker.loads()).toEqual(before);
    expect(picker.shared.pickerCount).toBe(0);
  });

  it.each([
    [
      "by its end",
      (_: SharingPicker, one: SharingPicker) => {
        one.over(1);
      },
    ],
    [
      "by its age",
      (other: SharingPicker) => {
        for (let now = 1; now <= 601; now++) {
          other.shared.receive(raw({ kind: "alive", from: "a" }), now);
          other.shared.tick(now);
        }
      },
    ],
    [
      "by the silence of its picker",
      (other: SharingPicker) => {
        other.shared.tick(5.1);
      },
    ],
    [
      "with the bus",
      (other: SharingPicker) => {
        other.shared.lost();
      },
    ],
    ["with its endpoint", (other: SharingPicker) => other.fleet.update([])],
  ])("H2: a request of another picker ends %s", (_, end) => {
    const [one, other] = [new SharingPicker("a"), new SharingPicker("b")];
    const idle = other.loads();
    one.pick(1, 0);
    deliver([one, other], 0);
    other.shared.tick(4.9);
    expect(other.loads()).not.toEqual(idle);
    expect(other.fleet.bookingCount).toBe(0);
    end(other, one);
    deliver([one, other], 602);
    expect(other.fleet.loads().every(({ running }) => running === 0)).toBe(true);
    expect(other.fleet.bookingCount).toBe(0);
  });

  it("H3: take 64 pickers and no more, until one is silent", () => {
    const picker = new SharingPicker("a");
    for (let i = 0; i < 65; i++) picker.shared.receive(raw({ kind: "alive", from: `p${i}` }), 0);
    expect(picker.shared.pickerCount).toBe(64);
    expect(picker.drops).toEqual(["too_many_pickers"]);
    picker.shared.tick(6);
    expect(picker.shared.pickerCount).toBe(0);
  });

  it("H3: take 20,000 requests and no more, and drop those of endpoints that are not ours", () => {
    const picker = new SharingPicker("a");
    const sent = { kind: "sent", from: "b", prompt_tokens: 1, fresh_tokens: 1, prefixes: [] };
    for (let id = 0; id <= 20_000; id++)
      picker.shared.receive(raw({ ...sent, id, endpoint: ENDPOINTS[0] }), 0);
    expect(picker.shared.requestCount).toBe(20_000);
    picker.shared.lost();
    picker.shared.receive(raw({ ...sent, id: 1, endpoint: "1.2.3.4:5" }), 0);
    expect(picker.drops).toEqual(["too_many_requests", "endpoint_unknown"]);
    expect([picker.shared.requestCount, picker.fleet.bookingCount]).toEqual([0, 0]);
  });

  it("H3: carry the first 512 beginnings of a long prompt", () => {
    const [one, other] = [new SharingPicker("a"), new SharingPicker("b")];
    one.pick(1, 0, new Uint32Array(600 * 256));
    const [sent] = one.outbox;
    expect(sent === undefined ? null : writeMessage(sent)?.length).toBeLessThan(16 * 1024);
    deliver([one, other], 0);
    expect(other.shared.requestCount).toBe(1);
  });

  it("H4: bytes that are no message are none", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 64 }),
          fc.json().map((text) => Buffer.from(text)),
        ),
        (bytes) => {
          expect(readMessage(bytes)).toBe(null);
        },
      ),
    );
    const sent = {
      kind: "sent",
      from: "b",
      id: 1,
      endpoint: ENDPOINTS[0],
      prompt_tokens: 1,
      fresh_tokens: 1,
    };
    const readOf = (more: object): SharedMessage | null =>
      readMessage(Buffer.from(JSON.stringify({ ...sent, prefixes: [], ...more })));
    for (const wrong of [
      { id: -1 },
      { id: 1.5 },
      { endpoint: "" },
      { prefixes: [0.5] },
      { from: "x".repeat(257) },
      { session: 1 },
      { kind: "served", isPicked: false },
    ])
      expect(readOf(wrong)).toBe(null);
    expect(readOf({})).not.toBe(null);
  });

  it("H5: with the bus only pickers of other daemons are lost", () => {
    const [own, sibling, other] = [
      new SharingPicker("own/0"),
      new SharingPicker("own/1"),
      new SharingPicker("other/0"),
    ];
    sibling.pick(1, 0);
    other.pick(1, 0);
    deliverWithin([own, sibling, other], 0);
    expect([own.shared.pickerCount, own.shared.requestCount]).toEqual([2, 2]);
    own.shared.lost();
    expect([own.shared.pickerCount, own.shared.requestCount]).toEqual([1, 1]);
  });

  it("keep a session and an adapter at the endpoint that another picker gave them", () => {
    const [one, other] = [new SharingPicker("a"), new SharingPicker("b")];
    const next = (traits: PickTraits): string => {
      const outcome = other.pick(Math.random(), 1, new Uint32Array(0), traits);
      return outcome.kind === "pick" ? outcome.endpoints[0].address : outcome.kind;
    };
    one.pick(1, 0, new Uint32Array(0), { session: "s", adapter: "lora" }, [ENDPOINTS[2] ?? ""]);
    one.over(1);
    deliver([one, other], 0);
    expect(next({})).toBe(ENDPOINTS[0]);
    expect(next({ session: "s" })).toBe(ENDPOINTS[2]);
    expect(next({ adapter: "lora" })).toBe(ENDPOINTS[2]);
  });

  it("let an endpoint rest at all threads of a daemon when three picks of theirs in a row were served elsewhere", () => {
    const threads = [new SharingPicker("own/0"), new SharingPicker("own/1")] as const;
    const [wrong, right] = ENDPOINTS as [string, string];
    const miss = (at: SharingPicker, id: number): void => {
      at.pick(id, 0, NAMES, {}, [wrong]);
      at.shared.served(wrong, at.fleet.served(id, right, 0));
      at.over(id);
      deliverWithin(threads, 0);
    };
    miss(threads[0], 1);
    miss(threads[1], 2);
    expect(threads.map(({ fleet }) => fleet.states(1).penalty)).toEqual([0, 0]);
    expect(threads.map(({ fleet }) => fleet.isDoubted(wrong))).toEqual([true, true]);
    miss(threads[0], 3);
    expect(threads.map(({ fleet }) => fleet.states(1).penalty)).toEqual([1, 1]);
    threads[1].shared.served(wrong, true);
    deliverWithin(threads, 2);
    expect(threads[0].fleet.states(2).penalty).toBe(0);
  });
});
