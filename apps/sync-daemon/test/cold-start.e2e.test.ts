/**
 * A daemon that starts without a snapshot in front of an engine whose history is shorter than its
 * life. It logs so once, and `/readyz?verbose` shows what is missing, since when and what ends it.
 */
import { expect, onTestFinished, test } from "vitest";

import { DaemonProcess } from "./daemon-process.ts";
import { caughtUp, rankOf, TestEngine, until } from "./fleet.ts";

const ENDS = "AllBlocksCleared, a restart of the engine, or a resync";

async function verbose(daemon: DaemonProcess): Promise<{ text: string; report: unknown }> {
  const url = "/readyz?verbose";
  const text = await (await daemon.fetch(url, { headers: { accept: "text/plain" } })).text();
  return { text, report: await (await daemon.fetch(url)).json() };
}

test("a cold start in front of a short history is told of once, with its end, and a restart of the engine ends it", async () => {
  const short = await TestEngine.start({ id: "short" }, 1, { bufferSteps: 5 });
  const whole = await TestEngine.start({ id: "whole" }, 2);
  onTestFinished(async () => {
    await Promise.all([short.stop(), whole.stop()]);
  });
  await Promise.all([short.serve(30), whole.serve(30)]);
  const daemon = await DaemonProcess.start({
    engines: [short.entry, whole.entry],
    snapshot: { enabled: false },
  });
  onTestFinished(async () => {
    await daemon.end();
  });
  await until("it is ready", async () => (await daemon.fetch("/readyz")).status === 200);
  await caughtUp(daemon, [whole]);
  const [told] = daemon.log.filter(({ event }) => event === "started_incomplete");
  expect(told).toMatchObject({
    level: "warn",
    index: "none",
    ranks: 2,
    incomplete_ranks: 1,
    pod: "short",
    ends_with: ENDS,
  });
  const before = await verbose(daemon);
  expect(before.text).toMatch(
    new RegExp(
      String.raw`^\[\+\]partial/history_incomplete ok: 1 of 2 ranks since \d{4}-\S+Z\. Blocks from before .* It ends with ${ENDS}$`,
      "m",
    ),
  );
  expect(before.report).toMatchObject({
    status: "ready",
    engines: [
      { worker: "short", trust_reason: "history_incomplete", trust_since: expect.any(String) as string },
      { worker: "whole", trust: "exact", trust_reason: null },
    ],
  });
  // More messages do not end it, however many.
  const last = rankOf(await daemon.engines(), short)?.last_sequence_number ?? 0;
  await short.serve(30, { isFresh: true });
  await until("they have arrived", async () => {
    const rank = rankOf(await daemon.engines(), short);
    expect(rank?.trust).toBe("partial");
    return (rank?.last_sequence_number ?? 0) > last;
  });
  await short.server.applyFault({ kind: "restart" }, 0);
  await until("the rank is exact", async () => rankOf(await daemon.engines(), short)?.trust === "exact");
  expect((await verbose(daemon)).text).not.toContain("partial/");
  expect(daemon.log.filter(({ event }) => event === "started_incomplete")).toHaveLength(1);
});
