/**
 * Snapshot files: the content that was written comes back, and damaged, cut or forged files do no
 * harm.
 */
import { execFileSync } from "node:child_process";
import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { type ContextKey, Prng, PrefixIndex, PrefixReader } from "@kvsync/core";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";

import { SnapshotError } from "./snapshot-error.ts";
import {
  loadSnapshot,
  openSnapshot,
  type SnapshotHead,
  verifySnapshot,
  writeSnapshot,
} from "./snapshot-file.ts";

const CONTEXT: ContextKey = { model: "m", loraName: null, blockSize: 4, lookahead: 0 };
const folder = mkdtempSync(join(tmpdir(), "kvsync-snapshot-file-"));

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const mark = { sequenceNumber: 7, low: 1, high: 2, atMs: 3 };

function headOf(slots: readonly number[]): SnapshotHead {
  return {
    productVersion: "1.2.3",
    createdMs: 1_700_000_000_000,
    hashSeed: "1337",
    streams: slots.map((rankSlot) => ({
      rankSlot,
      workerId: `engine-${rankSlot}`,
      model: "m",
      dpRank: 0,
      endpoint: `tcp://10.0.0.${rankSlot}:5557`,
      topic: "",
      reportMode: "delta",
      position: {
        lastSequenceNumber: 7,
        begunAt: 0,
        lastBatchTimestampSeconds: 1.5,
        fence: { anchor: mark, newer: mark, last: mark },
        applier: {
          groups: {
            main: 0,
            mainBlockSize: 4,
            mainKind: "full_attention",
            contextBlockSize: 4,
            scoutedCount: 1,
            groups: [],
            others: [],
            isSetAside: false,
          },
          outlivesClear: false,
          losses: [],
          hasParkedBelowDevice: true,
          hasGivenUp: false,
          uncertainCopies: [[3, 1, 0xffff_ffff, 2, true]],
          contentNames: [[7, 8]],
          historyFrom: 0,
          overReportsSince: 0,
        },
      },
    })),
  };
}

/** Stores chains of random blocks, and one store that waits for its parent. */
function filled(seed: number, slots: readonly number[]): PrefixIndex {
  const random = new Prng(seed);
  const index = PrefixIndex.create({ memoryBytesMax: 64 * 1024 * 1024 });
  const context = index.openContext(CONTEXT);
  for (const slot of slots) {
    for (let chain = 0; chain < 3; chain++) {
      const blocks = 1 + random.below(30);
      for (let i = 0; i < 4 * blocks; i++) index.scratch.tokens[i] = random.below(3);
      for (let i = 0; i < 2 * blocks; i++) index.scratch.hashes[i] = random.below(2 ** 32);
      index.storeBlocks(context, slot, 0, blocks, false, 0, 0, false);
    }
    index.storeBlocks(context, slot, 1, 2, true, 99, 99, false);
  }
  return index;
}

function rowsOf(index: PrefixIndex): string[] {
  const reader = PrefixReader.attach(index.shared, { tokensMax: 64 });
  const out = new Uint32Array(5 * 65_536);
  const { rows } = reader.dump(reader.findContext(CONTEXT), 0, out);
  reader.detach();
  return Array.from({ length: rows }, (_, i) => out.subarray(5 * i, 5 * i + 5).join(" ")).sort();
}

function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof SnapshotError) return error.code;
    throw error;
  }
  return "accepted";
}

describe("a snapshot file", () => {
  const slots = [0, 5, 4095];
  const path = join(folder, "whole");
  const index = filled(1, slots);
  const written = writeSnapshot(path, headOf(slots), index.copy());
  const whole = readFileSync(path);

  test("gives back what was written: holders, names, what waits, and where streams stood", () => {
    const target = PrefixIndex.create({ memoryBytesMax: 64 * 1024 * 1024 });
    const summary = loadSnapshot(path, target.importer(), "1337");
    expect(summary).toMatchObject({
      head: headOf(slots),
      rows: written.rows,
      parked: 3,
      bytes: whole.length,
    });
    expect(rowsOf(target)).toEqual(rowsOf(index));
    expect(target.stats().parkedStoreCount).toBe(3);
    expect(target.check()).toEqual([]);
  });

  // Small sections share memory with others while they are read, large ones have their own.
  test.each([[1], [2], [3], [500], [2001]])(
    "gives back a store of %i blocks that waits for its parent, with and without extra keys, word for word",
    (blocks) => {
      const source = PrefixIndex.create({ memoryBytesMax: 64 * 1024 * 1024 });
      const context = source.openContext(CONTEXT);
      const random = new Prng(blocks);
      for (const hasExtra of [false, true]) {
        for (const words of [source.scratch.tokens, source.scratch.hashes, source.scratch.extraDigests])
          for (let i = 0; i < 4 * blocks; i++) words[i] = random.below(2 ** 32);
        expect(source.storeBlocks(context, 0, 1, blocks, true, 99, 98, hasExtra)).toBeDefined();
      }
      const waiting = join(folder, "waiting");
      writeSnapshot(waiting, headOf([0]), source.copy());
      const target = PrefixIndex.create({ memoryBytesMax: 64 * 1024 * 1024 });
      loadSnapshot(waiting, target.importer(), "1337");
      expect(source.copy().parked).toHaveLength(2);
      expect(target.copy().parked).toEqual(source.copy().parked);
    },
  );

  test("is whole also where an engine has announced a block more often than a file takes", () => {
    const source = PrefixIndex.create({ memoryBytesMax: 64 * 1024 * 1024 });
    const context = source.openContext(CONTEXT);
    source.storeBlocks(context, 0, 0, 1, false, 0, 0, false);
    for (let copies = 1; copies <= 1_000_000; copies++) source.storeKnownBlocks(0, 0, 1);
    const often = join(folder, "often");
    writeSnapshot(often, headOf([0]), source.copy());
    const target = PrefixIndex.create({ memoryBytesMax: 64 * 1024 * 1024 });
    expect(loadSnapshot(often, target.importer(), "1337").rows).toBe(1);
    expect(rowsOf(target).map((row) => row.split(" ").at(-1))).toEqual(["1000000"]);
  });

  test("leaves out the blocks of ranks that have no stream in it", () => {
    const partial = join(folder, "partial");
    writeSnapshot(partial, headOf([5]), filled(1, slots).copy());
    const target = PrefixIndex.create({ memoryBytesMax: 64 * 1024 * 1024 });
    loadSnapshot(partial, target.importer(), "1337");
    expect(rowsOf(target)).toEqual(rowsOf(index).filter((row) => row.split(" ")[2] === "5"));
    expect(target.stats().parkedStoreCount).toBe(1);
  });

  test("is refused, with a code, wherever a bit is flipped (F1)", () => {
    const flipped = join(folder, "flipped");
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.nat(7), (at, bit) => {
        const bytes = Buffer.from(whole);
        bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
        writeFileSync(flipped, bytes);
        expect(refusal(() => verifySnapshot(flipped))).toMatch(
          /^(not_a_snapshot|other_format|truncated|checksum_mismatch|malformed_section)$/,
        );
      }),
      { numRuns: 400 },
    );
  });

  test("is refused wherever it is cut, and with anything behind its end", () => {
    const cut = join(folder, "cut");
    fc.assert(
      fc.property(fc.nat(whole.length - 1), (length) => {
        writeFileSync(cut, whole.subarray(0, length));
        expect(refusal(() => verifySnapshot(cut))).toBe("truncated");
      }),
      { numRuns: 200 },
    );
    writeFileSync(cut, Buffer.concat([whole, Buffer.from([0])]));
    expect(refusal(() => verifySnapshot(cut))).toBe("malformed_section");
  });

  test("of another format, another seed, or another kind of file says so", () => {
    const other = join(folder, "other");
    const bytes = Buffer.from(whole);
    bytes.writeUInt32LE(1, 8);
    writeFileSync(other, bytes);
    expect(() => verifySnapshot(other)).toThrow(/format 1, this version reads 2/);
    writeFileSync(other, "a file of somebody else, long enough");
    expect(() => verifySnapshot(other)).toThrow(/is not a snapshot of kvsync/);
    const target = PrefixIndex.create({ memoryBytesMax: 64 * 1024 * 1024 });
    expect(() => loadSnapshot(path, target.importer(), "7")).toThrow(
      /made with another hash seed: index.prefix_hashes/,
    );
    expect(refusal(() => verifySnapshot(join(folder, "none")))).toBe("io_failed");
    expect(refusal(() => verifySnapshot(folder))).toBe("io_failed");
  });

  test("is not waited for where somebody has put a pipe, a device or a folder", () => {
    const pipe = join(folder, "pipe");
    execFileSync("mkfifo", [pipe]);
    for (const other of [pipe, "/dev/zero", folder]) {
      expect(refusal(() => verifySnapshot(other))).toBe("io_failed");
      expect(() => verifySnapshot(other)).toThrow(`snapshot ${other}: is no regular file`);
    }
  });

  test("that cannot be written where a folder should be says so by its code", () => {
    const file = join(folder, "no-folder");
    writeFileSync(file, "");
    expect(refusal(() => writeSnapshot(join(file, "x"), headOf([0]), filled(1, [0]).copy()))).toBe(
      "io_failed",
    );
  });

  test("keeps the one before it, and both when the disk is full", () => {
    const kept = join(folder, "kept");
    writeSnapshot(kept, headOf([0]), filled(1, [0]).copy());
    const first = readFileSync(kept);
    writeSnapshot(kept, headOf([0]), filled(2, [0]).copy());
    expect(readFileSync(`${kept}.previous`)).toEqual(first);
    const second = readFileSync(kept);
    // What is written first goes to a device that is full.
    symlinkSync("/dev/full", `${kept}.writing`);
    expect(() => writeSnapshot(kept, headOf([0]), filled(3, [0]).copy())).toThrow(/ENOSPC/);
    expect(readFileSync(kept)).toEqual(second);
    expect(readFileSync(`${kept}.previous`)).toEqual(first);
  });

  test("that was found whole is the one that is applied, whatever takes its name meanwhile (F2)", () => {
    const swapped = join(folder, "swapped");
    writeSnapshot(swapped, headOf(slots), index.copy());
    const snapshot = openSnapshot(swapped);
    // Another one takes its name, as when a snapshot is written while this one is read; and that one is damaged.
    writeFileSync(`${swapped}.other`, whole.subarray(0, whole.length - 1));
    renameSync(`${swapped}.other`, swapped);
    const target = PrefixIndex.create({ memoryBytesMax: 64 * 1024 * 1024 });
    snapshot.load(target.importer());
    snapshot.close();
    expect(rowsOf(target)).toEqual(rowsOf(index));
    expect(refusal(() => verifySnapshot(swapped))).toBe("truncated");
  });

  test("does not lose the one before it when it ends while it takes its name (F3)", () => {
    const ended = join(folder, "ended");
    writeSnapshot(ended, headOf([0]), filled(1, [0]).copy());
    const first = readFileSync(ended);
    // The end of a process just after the one at hand got its second name.
    linkSync(ended, `${ended}.previous`);
    linkSync(ended, `${ended}.linked`);
    writeSnapshot(ended, headOf([0]), filled(2, [0]).copy());
    expect(readFileSync(`${ended}.previous`)).toEqual(first);
    expect(existsSync(`${ended}.linked`)).toBe(false);
    // And one before it: nothing can be linked to a folder, so that this is as far as it gets.
    const second = readFileSync(ended);
    rmSync(ended);
    mkdirSync(ended);
    expect(refusal(() => writeSnapshot(ended, headOf([0]), filled(3, [0]).copy()))).toBe("io_failed");
    expect(readFileSync(`${ended}.previous`)).toEqual(first);
    expect(second).not.toEqual(first);
  });
});
