/** The main thread's control of a thread, against threads that behave as the test sets. */
import { expect, test } from "vitest";

import { IngestWorker } from "./ingest-worker.ts";
import type { IngestSettings } from "./thread-messages.ts";

const settings = { worker: "ingest-0" } as IngestSettings;

function script(body: string): URL {
  const source = `import { parentPort } from "node:worker_threads";\n${body}`;
  return new URL(`data:text/javascript,${encodeURIComponent(source)}`);
}

function listener(died: (error: Error) => void) {
  const nothing = (): void => undefined;
  return { metrics: nothing, log: nothing, span: nothing, unknownKind: nothing, died };
}

test("a thread that dies before it is ready makes the start fail with its error", async () => {
  const start = IngestWorker.start(
    script('throw new Error("no memory");'),
    settings,
    listener(() => undefined),
  );
  await expect(start).rejects.toThrow("no memory");
});

test("a thread that dies later is told of, with its error", async () => {
  const death = new Promise<Error>((resolve) => {
    void IngestWorker.start(
      script(
        'parentPort.postMessage({ kind: "ready", index: null }); setTimeout(() => { throw new Error("broken"); }, 20);',
      ),
      settings,
      listener(resolve),
    );
  });
  expect((await death).message).toBe("broken");
});

test("a thread that does not obey is ended all the same, and that is no death", async () => {
  const deaths: Error[] = [];
  const worker = await IngestWorker.start(
    script('parentPort.postMessage({ kind: "ready", index: null }); parentPort.on("message", () => {});'),
    settings,
    listener((error) => deaths.push(error)),
  );
  await worker.stop();
  expect(deaths).toEqual([]);
});

test("forgetting resolves with the thread's word, slot by slot", async () => {
  const worker = await IngestWorker.start(
    script(`parentPort.postMessage({ kind: "ready", index: null });
      parentPort.on("message", ({ kind, rankSlot }) => {
        if (kind === "stop") parentPort.close();
        else setTimeout(() => parentPort.postMessage({ kind: "forgotten", rankSlot }), rankSlot);
      });`),
    settings,
    listener(() => undefined),
  );
  const order: number[] = [];
  await Promise.all([30, 10].map((slot) => worker.forget(slot).then(() => order.push(slot))));
  expect(order).toEqual([10, 30]);
  await worker.stop();
});
