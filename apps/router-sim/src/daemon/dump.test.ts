import { describe, expect, it } from "vitest";

import { holdingsByStream, readDump } from "./dump.ts";

type Row = readonly [hash: bigint, context: number, slot: number, tier: number, copies: number];

function dumpBytes(header: unknown, rows: readonly Row[]): Buffer {
  const records = Buffer.alloc(24 * rows.length);
  rows.forEach(([hash, ...words], i) => {
    records.writeBigUInt64LE(hash, 24 * i);
    words.forEach((word, position) => records.writeUInt32LE(word, 24 * i + 8 + 4 * position));
  });
  return Buffer.concat([Buffer.from(`${JSON.stringify(header)}\n`), records]);
}

const HEADER = {
  contexts: [
    { id: 7, lora_name: null, block_size: 16, lookahead: 0 },
    { id: 9, lora_name: "legal", block_size: 16, lookahead: 0 },
    { id: 11, lora_name: null, block_size: 32, lookahead: 0 },
  ],
};
const STREAMS = new Map([
  [3, { worker: "a", dpRank: 0 }],
  [5, { worker: "b", dpRank: 1 }],
]);

describe("a dump", () => {
  it("is sorted by stream, with every column of every record", () => {
    const rows: Row[] = [
      [0xffff_ffff_ffff_fffen, 0, 5, 1, 2],
      [1n, 1, 3, 0, 1],
      [2n, 0, 5, 0, 0],
    ];
    const [b, a] = holdingsByStream(readDump("/dump", dumpBytes(HEADER, rows)), STREAMS, 16);
    expect(b).toMatchObject({ worker: "b", dpRank: 1 });
    expect([...b!.hashes]).toEqual([0xffff_ffff_ffff_fffen, 2n]);
    expect([...b!.tierOf]).toEqual([1, 0]);
    expect([...b!.copies]).toEqual([2, 0]);
    expect(a!.adapters[a!.adapterOf[0]!]).toBe("legal");
  });

  it("keeps records of a rank slot that no stream has, and of a context that no engine has, for the audit to find", () => {
    const rows: Row[] = [
      [1n, 0, 99, 0, 1],
      [1n, 2, 3, 0, 1],
    ];
    const [stranger, a] = holdingsByStream(readDump("/dump", dumpBytes(HEADER, rows)), STREAMS, 16);
    expect(stranger!.worker).toBe("(rank slot 99)");
    expect(a!.adapters[a!.adapterOf[0]!]).toBe(" (block size 32)");
  });

  it("may be empty", () => {
    expect(holdingsByStream(readDump("/dump", dumpBytes({ contexts: [] }, [])), STREAMS, 16)).toEqual([]);
  });

  it("is refused when it is not a header and whole records", () => {
    for (const body of [
      Buffer.from("{}"),
      Buffer.from("nonsense\n"),
      Buffer.from("{}\n"),
      Buffer.from('{"contexts":[]}\nabc'),
    ]) {
      expect(() => readDump("/dump", body)).toThrow(
        expect.objectContaining({ code: "daemon_answer_malformed" }) as Error,
      );
    }
  });
});
