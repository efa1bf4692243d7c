import { expect, test } from "vitest";

import { RequestTurns } from "./request-turns.ts";

/** A loop whose turns and clock are the test's. */
class Loop {
  nowMs = 0;
  #calls: (() => void)[] = [];
  readonly turns = {
    next: (call: () => void): void => {
      this.#calls.push(call);
    },
    now: (): number => this.nowMs,
  };

  turn(): void {
    const calls = this.#calls;
    this.#calls = [];
    for (const call of calls) call();
  }
}

/** Takes requests that need 4 ms each, and notes which have begun. */
function server(): { loop: Loop; begun: string[]; take: (url: string, isGone?: () => boolean) => void } {
  const loop = new Loop();
  const requests = new RequestTurns(loop.turns);
  const begun: string[] = [];
  const take = (url: string, isGone = (): boolean => false): void => {
    requests.take({
      url,
      isGone,
      begin: () => {
        begun.push(url);
        loop.nowMs += 4;
      },
    });
  };
  return { loop, begun, take };
}

test("N1: requests of one turn begin at once for 10 ms, and the others one in each turn, in their order", () => {
  const { loop, begun, take } = server();
  for (const url of ["/a", "/b", "/c", "/d", "/e"]) take(url);
  expect(begun).toEqual(["/a", "/b", "/c"]);
  loop.turn();
  expect(begun).toEqual(["/a", "/b", "/c", "/d"]);
  // What comes while others wait does not pass them.
  take("/f");
  loop.turn();
  loop.turn();
  expect(begun).toEqual(["/a", "/b", "/c", "/d", "/e", "/f"]);
  loop.turn();
  take("/g");
  expect(begun.at(-1)).toBe("/g");
});

test("N2: a probe that comes while others wait is the next to begin", () => {
  const { loop, begun, take } = server();
  for (const url of ["/a", "/b", "/c", "/d", "/e", "/livez", "/readyz?verbose", "/livezzz"]) take(url);
  for (let i = 0; i < 3; i += 1) loop.turn();
  expect(begun.slice(3)).toEqual(["/livez", "/readyz?verbose", "/d"]);
});

test("N3: a request whose connection has ended does not begin, and takes no turn", () => {
  const { loop, begun, take } = server();
  for (const url of ["/a", "/b", "/c"]) take(url);
  take("/gone", () => true);
  take("/d");
  loop.turn();
  expect(begun.slice(3)).toEqual(["/d"]);
});
