/** A fault planted in one thread of a started daemon, which comes at a word of the test. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The threads: each is known by what it was started with. */
const THREADS = {
  lookup: "workerData?.lookupThread !== undefined",
  picker: "workerData?.pickPrefix !== undefined",
  "second picker": "workerData?.pickPrefix !== undefined && workerData.thread === 1",
};
const ACTIONS = { hangs: "for (;;);", dies: 'throw new Error("planted");' };

/** A planted fault. */
export interface ThreadFault {
  /** For the daemon's process. */
  readonly environment: Record<string, string>;
  /** Lets it come. */
  readonly now: () => void;
  /** Removes its files. */
  readonly clean: () => void;
}

/** Plants a fault: the thread does it when a file appears. */
export function plantFault(thread: keyof typeof THREADS, action: keyof typeof ACTIONS): ThreadFault {
  const folder = mkdtempSync(join(tmpdir(), "kvsync-fault-"));
  const file = join(folder, "now");
  const module = join(folder, "preload.mjs");
  writeFileSync(
    module,
    `import { existsSync } from "node:fs";
     import { workerData } from "node:worker_threads";
     if (${THREADS[thread]})
       setInterval(() => { if (existsSync(${JSON.stringify(file)})) { ${ACTIONS[action]} } }, 20).unref();`,
  );
  return {
    environment: { NODE_OPTIONS: `--import ${module}` },
    now: () => {
      writeFileSync(file, "");
    },
    clean: () => {
      rmSync(folder, { recursive: true });
    },
  };
}
