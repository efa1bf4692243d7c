/**
 * Reads `GET /api/v1/dump`: one line of JSON, then records of 24 bytes, little-endian:
 *
 *     byte  0             8         12          16     20       24
 *          ┌─────────────┬─────────┬───────────┬──────┬────────┐
 *          │ prefix hash │ context │ rank slot │ tier │ copies │   context: position in the header's list
 *          │     u64     │   u32   │    u32    │ u32  │  u32   │   copies: 0 when not known
 *          └─────────────┴─────────┴───────────┴──────┴────────┘
 *
 * and sorts the records by rank slot, which is how the audit wants them.
 */
import { z } from "zod";

import type { StreamHoldings } from "../audit/audit.ts";
import { DaemonError } from "./daemon-error.ts";

const RECORD_BYTES = 24;
const NEWLINE = 0x0a;

const HEADER = z.object({
  contexts: z.array(
    z.object({ lora_name: z.string().nullable(), block_size: z.int().positive(), lookahead: z.int().min(0) }),
  ),
});

/** A dump, not yet told which rank slot is which worker's. */
export interface Dump {
  readonly contexts: z.infer<typeof HEADER>["contexts"];
  readonly recordCount: number;
  /** The records, RECORD_BYTES each. */
  readonly records: DataView;
}

/** Which stream a rank slot stands for. */
export interface StreamName {
  readonly worker: string;
  readonly dpRank: number;
}

/**
 * Takes a dump apart.
 *
 * @param path - where it came from, for messages.
 * @param body - the whole answer; referred to, not copied.
 * @throws DaemonError `daemon_answer_malformed` when it is not a header and whole records.
 */
export function readDump(path: string, body: Buffer): Dump {
  const headerEnd = body.indexOf(NEWLINE);
  if (headerEnd < 0) throw malformed(path, "a header line of JSON");
  const header = HEADER.safeParse(parseHeader(path, body.subarray(0, headerEnd)));
  if (!header.success) throw malformed(path, z.prettifyError(header.error).replaceAll("\n", " "));
  const bytes = body.length - headerEnd - 1;
  if (bytes % RECORD_BYTES !== 0) {
    throw malformed(path, `whole records of ${RECORD_BYTES} bytes after the header; got ${bytes} bytes`);
  }
  return {
    contexts: header.data.contexts,
    recordCount: bytes / RECORD_BYTES,
    records: new DataView(body.buffer, body.byteOffset + headerEnd + 1, bytes),
  };
}

/**
 * Sorts a dump by stream.
 *
 * @param dump - from readDump.
 * @param streamOf - by rank slot.
 * @param blockSize - the block size under audit; records of other contexts are as wrong as an unknown rank slot.
 * @returns one entry per stream that has records; records of a rank slot that no stream has come as a stream named
 * `(rank slot n)`, so that the audit reports them.
 */
export function holdingsByStream(
  dump: Dump,
  streamOf: ReadonlyMap<number, StreamName>,
  blockSize: number,
): StreamHoldings[] {
  const { records, recordCount } = dump;
  const countBySlot = new Map<number, number>();
  for (let i = 0; i < recordCount; i++) {
    const slot = records.getUint32(i * RECORD_BYTES + 12, true);
    countBySlot.set(slot, (countBySlot.get(slot) ?? 0) + 1);
  }
  const adapters = dump.contexts.map((context) => adapterName(context, blockSize));
  const bySlot = new Map<number, { holdings: StreamHoldings; filled: number }>();
  for (const [slot, count] of countBySlot) {
    const stream = streamOf.get(slot) ?? { worker: `(rank slot ${slot})`, dpRank: 0 };
    bySlot.set(slot, { holdings: emptyHoldings(stream, adapters, count), filled: 0 });
  }
  for (let i = 0; i < recordCount; i++) {
    const at = i * RECORD_BYTES;
    const target = bySlot.get(records.getUint32(at + 12, true));
    if (target === undefined) continue;
    const { holdings, filled } = target;
    holdings.hashes[filled] = records.getBigUint64(at, true);
    holdings.adapterOf[filled] = records.getUint32(at + 8, true);
    holdings.tierOf[filled] = records.getUint32(at + 16, true);
    holdings.copies[filled] = records.getUint32(at + 20, true);
    target.filled += 1;
  }
  return [...bySlot.values()].map(({ holdings }) => holdings);
}

/** The base model's context is "", an adapter's its name; a context that no engine of ours has is named apart. */
function adapterName(context: Dump["contexts"][number], blockSize: number): string {
  const name = context.lora_name ?? "";
  if (context.block_size === blockSize && context.lookahead === 0) return name;
  return `${name} (block size ${context.block_size}${context.lookahead > 0 ? `, lookahead ${context.lookahead}` : ""})`;
}

function emptyHoldings(stream: StreamName, adapters: readonly string[], count: number): StreamHoldings {
  return {
    ...stream,
    adapters,
    adapterOf: new Uint16Array(count),
    tierOf: new Uint8Array(count),
    hashes: new BigUint64Array(count),
    copies: new Uint32Array(count),
  };
}

function parseHeader(path: string, line: Buffer): unknown {
  try {
    return JSON.parse(line.toString("utf8")) as unknown;
  } catch (cause) {
    throw malformed(path, "a header line of JSON", cause);
  }
}

function malformed(path: string, expected: string, cause?: unknown): DaemonError {
  const facts = { code: "daemon_answer_malformed", path, expected } as const;
  return new DaemonError(facts, `${path}: the daemon's answer is not as expected: ${expected}`, { cause });
}
