/** Instances of the kernel share nothing but memory, and every table that the kernel allocates for a context is on the page of bounds. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { instantiateKernel, makeKernelMemory } from "./kernel.ts";

describe("the kernel", () => {
  it("has every file that allocates for a context on the page of bounds", () => {
    const page = readFileSync(new URL("../../../../docs/bounds.md", import.meta.url), "utf8");
    const folder = new URL("../../kernel/", import.meta.url);
    const allocating = readdirSync(folder).filter((name) =>
      /\ballocate(?:Zeroed|Scratch)?\(/.test(readFileSync(new URL(name, folder), "utf8")),
    );
    expect(allocating.length).toBeGreaterThan(7);
    // Not tables: the allocator itself, the buffers of readers and callers, whose sizes are checked arguments.
    const missing = allocating.filter((name) => !page.includes(`\`${name}\``));
    expect(
      missing.filter((name) => !["heap.ts", "index.ts", "match.ts", "build.mjs"].includes(name)),
    ).toEqual([]);
  });

  it("keeps all state in memory: a second instance continues where the first one stopped", () => {
    const memory = makeKernelMemory(16, 64);
    const first = instantiateKernel(memory);
    first.hashSeed(1337, 0, 0);
    first.tableSecret(1, 2, 3, 4);
    first.indexInit(16 * 2 ** 20, 4, 1000);
    const at = first.scratchMake(1000);
    const second = instantiateKernel(memory);
    expect(second.contextSlotCount()).toBe(first.contextSlotCount());
    expect(second.scratchMake(1000)).not.toBe(at);
    expect(second.indexCheck(at)).toBe(0);
  });

  it("digests the same bytes alike in instances over memories with one seed, and differently with another", () => {
    const digests = [1, 1, 2].map((seed) => {
      const memory = makeKernelMemory(8, 8);
      const kernel = instantiateKernel(memory);
      kernel.hashSeed(seed, 0, 0);
      kernel.hashDigest(65_536, 300, 131_072);
      return [...new Uint32Array(memory.buffer, 131_072, 2)].join();
    });
    expect(digests[0]).toBe(digests[1]);
    expect(digests[0]).not.toBe(digests[2]);
  });
});
