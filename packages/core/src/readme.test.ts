/** README.md's program does what the text next to it describes. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");

test("the program in the README finds the two blocks, and says that it is exact", async () => {
  const program = /```ts\n(.*?)```/s.exec(readme)?.[1] ?? "";
  const built = new URL("../dist/index.js", import.meta.url).href;
  const source = `${program.replace('"@kvsync/core"', JSON.stringify(built))}
export { rankSlot, matchedBlocks, trust };`;
  const module: unknown = await import(
    /* @vite-ignore */ `data:text/javascript,${encodeURIComponent(source)}`
  );
  expect(module).toMatchObject({ rankSlot: 0, matchedBlocks: 2, trust: "exact" });
});
