import { afterEach, expect, it } from "vitest";

import { ThreadChannel, type ThreadNews } from "./thread-channel.ts";

const open: ThreadChannel[] = [];
afterEach(() => {
  for (const channel of open.splice(0)) channel.close();
});

function channel(name: string): { readonly channel: ThreadChannel; readonly heard: number[] } {
  const heard: number[] = [];
  const made = new ThreadChannel(name);
  made.listen((news) => {
    if (news.kind === "load") heard.push(Number(news.address));
  });
  open.push(made);
  return { channel: made, heard };
}

const news = (number: number): ThreadNews => ({ kind: "load", address: String(number), load: null });

it("C1: brings what one thread sends to each other one, once and in order, and not to itself or another picker's", async () => {
  const [one, two, three, other] = [channel("a"), channel("a"), channel("a"), channel("b")];
  for (let i = 0; i < 100; i++) (i % 2 === 0 ? one : two).channel.send(news(i));
  await expect.poll(() => [one.heard.length, two.heard.length, three.heard.length]).toEqual([50, 50, 100]);
  const even = Array.from({ length: 50 }, (_, i) => 2 * i);
  const odd = even.map((number) => number + 1);
  expect(two.heard).toEqual(even);
  expect(one.heard).toEqual(odd);
  expect(three.heard.filter((number) => number % 2 === 0)).toEqual(even);
  expect(three.heard.filter((number) => number % 2 === 1)).toEqual(odd);
  expect(other.heard).toEqual([]);
});
