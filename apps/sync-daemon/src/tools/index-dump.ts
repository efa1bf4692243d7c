/**
 * The content of a daemon's index for a model, read as a stream (query/dump.ts has the format). It
 * is added up by context, worker, DP rank and KV-cache group, or read record by record.
 *
 * The list of engines names the owner of each slot. The list is read before the dump, so a group
 * that opens in between has no owner here.
 */

import { TIERS, toHex } from "@kvsync/core";
import { z } from "zod";

import type { DaemonApi } from "./daemon-api.ts";
import { type Terminal, whole } from "./terminal.ts";
import { ToolError } from "./tool-error.ts";

const NEWLINE = 0x0a;
/** A header names at most all contexts of an index. */
const HEADER_BYTES_MAX = 4 * 1024 * 1024;

const headerShape = z.object({
  contexts: z.array(
    z.object({ lora_name: z.string().nullable(), block_size: z.number(), lookahead: z.number() }),
  ),
  record_bytes: z.literal(24),
});
const groupShape = z.object({
  index: z.number().nullable(),
  is_main: z.boolean(),
  kind: z.string(),
  window_tokens: z.number().nullable(),
  block_size: z.number(),
});
const rankShape = z.object({
  dp_rank: z.number(),
  rank_slot: z.number(),
  groups: z.array(groupShape.extend({ holder_slot: z.number() })),
});
const enginesShape = z.object({
  engines: z.array(z.object({ id: z.string(), ranks: z.array(rankShape) })),
});

/** A KV-cache group of a rank, as JSON shows it. */
type Group = z.infer<typeof groupShape>;
type Context = z.infer<typeof headerShape>["contexts"][number];

/** The part of one context that a group of a rank holds. */
interface Holding {
  readonly lora_name: string | null;
  readonly block_size: number;
  readonly worker: string;
  readonly dp_rank: number | null;
  /** Null when the owner is not known, or its rank has not named its groups. */
  readonly group: Group | null;
  /** Blocks by tier, in the order device, host, disk, remote. */
  readonly blocks: number[];
}

/** How to show a dump. */
export interface DumpOptions {
  readonly model: string;
  readonly isJson: boolean;
  /** Every record instead of sums. */
  readonly showsRecords: boolean;
}

/**
 * Reads and prints a model's part of the index.
 *
 * @param api - of the daemon.
 * @param options - what and how.
 * @param terminal - where to.
 * @returns the number of records.
 * @throws ToolError daemon_unreachable, http_status, unusable_answer.
 */
export async function printDump(api: DaemonApi, options: DumpOptions, terminal: Terminal): Promise<number> {
  const path = `/api/v1/dump?model=${encodeURIComponent(options.model)}`;
  const owners = await slotOwners(api);
  const response = await api.get(path);
  if (response.body === null) throw unusable(path, "a body");
  const holdings = new Map<string, Holding>();
  let contexts: readonly Context[] | null = null;
  let records = 0;
  let rest = Buffer.alloc(0);
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    let bytes = Buffer.concat([rest, chunk]);
    if (contexts === null) {
      const end = bytes.indexOf(NEWLINE);
      if (end < 0 && bytes.length > HEADER_BYTES_MAX) throw unusable(path, "a header line");
      if (end < 0) {
        rest = bytes;
        continue;
      }
      contexts = headerOf(path, bytes.subarray(0, end).toString());
      bytes = bytes.subarray(end + 1);
    }
    const count = Math.floor(bytes.length / 24);
    for (let i = 0; i < count; i++) {
      const record = recordAt(bytes, 24 * i, contexts, owners, path);
      if (options.showsRecords) printRecord(record, options.isJson, terminal);
      else addTo(holdings, record);
    }
    records += count;
    rest = bytes.subarray(24 * count);
  }
  if (contexts === null || rest.length > 0) throw unusable(path, "a header and whole records");
  if (!options.showsRecords) printHoldings(options, [...holdings.values()], terminal);
  return records;
}

interface Owner {
  readonly worker: string;
  readonly dpRank: number | null;
  readonly group: Group | null;
}

async function slotOwners(api: DaemonApi): Promise<ReadonlyMap<number, Owner>> {
  const { engines } = await api.json("/api/v1/engines", enginesShape);
  const owners = new Map<number, Owner>();
  for (const { id: worker, ranks } of engines)
    for (const { dp_rank: dpRank, rank_slot, groups } of ranks) {
      owners.set(rank_slot, { worker, dpRank, group: null });
      for (const { holder_slot, ...group } of groups) owners.set(holder_slot, { worker, dpRank, group });
    }
  return owners;
}

function headerOf(path: string, text: string): readonly Context[] {
  try {
    return headerShape.parse(JSON.parse(text)).contexts;
  } catch (error) {
    throw unusable(path, "a header with contexts and records of 24 bytes", error);
  }
}

interface DumpRecord {
  readonly context: Context;
  readonly owner: Owner;
  readonly prefixHash: string;
  readonly tier: number;
  readonly copies: number;
}

function recordAt(
  bytes: Buffer,
  at: number,
  contexts: readonly Context[],
  owners: ReadonlyMap<number, Owner>,
  path: string,
): DumpRecord {
  const context = contexts[bytes.readUInt32LE(at + 8)];
  const slot = bytes.readUInt32LE(at + 12);
  const tier = bytes.readUInt32LE(at + 16);
  if (context === undefined || tier >= TIERS.length)
    throw unusable(path, "records of known contexts and tiers");
  return {
    context,
    owner: owners.get(slot) ?? { worker: `(slot ${slot}, no engine listed)`, dpRank: null, group: null },
    prefixHash: toHex(bytes.readUInt32LE(at), bytes.readUInt32LE(at + 4)),
    tier,
    copies: bytes.readUInt32LE(at + 20),
  };
}

function printRecord(
  { context, owner, prefixHash, tier, copies }: DumpRecord,
  isJson: boolean,
  terminal: Terminal,
): void {
  const tierName = TIERS[tier] ?? "";
  if (isJson) {
    terminal.json({
      prefix_hash: prefixHash,
      lora_name: context.lora_name,
      block_size: context.block_size,
      worker: owner.worker,
      dp_rank: owner.dpRank,
      group: owner.group,
      tier: tierName,
      copies: copies === 0 ? null : copies,
    });
    return;
  }
  const lora = context.lora_name === null ? "" : ` lora ${context.lora_name}`;
  const holder = `${owner.worker} rank ${owner.dpRank ?? "?"} group ${groupText(owner.group)}`;
  terminal.line(`${prefixHash} ${holder} ${tierName} ×${copies}${lora}`);
}

/** "1 sliding_window 1024"; "main" for a rank whose events name no groups. */
function groupText(group: Group | null): string {
  if (group === null) return "-";
  const { index, is_main, kind, window_tokens } = group;
  const name = index ?? (is_main ? "main" : "unnumbered");
  return [name, kind === "none" ? null : kind, window_tokens].filter((part) => part !== null).join(" ");
}

function addTo(holdings: Map<string, Holding>, { context, owner, tier }: DumpRecord): void {
  const key = JSON.stringify([
    context.lora_name,
    context.block_size,
    context.lookahead,
    owner.worker,
    owner.dpRank,
    owner.group,
  ]);
  let holding = holdings.get(key);
  if (holding === undefined) {
    holding = {
      lora_name: context.lora_name,
      block_size: context.block_size,
      worker: owner.worker,
      dp_rank: owner.dpRank,
      group: owner.group,
      blocks: TIERS.map(() => 0),
    };
    holdings.set(key, holding);
  }
  holding.blocks[tier] = (holding.blocks[tier] ?? 0) + 1;
}

function printHoldings(
  { model, isJson }: DumpOptions,
  holdings: readonly Holding[],
  terminal: Terminal,
): void {
  if (isJson) {
    const rows = holdings.map(({ blocks, ...holding }) => ({
      ...holding,
      blocks: Object.fromEntries(TIERS.map((tier, i) => [tier, blocks[i]])),
    }));
    terminal.json({ model, holdings: rows });
    return;
  }
  if (holdings.length === 0) {
    terminal.line(`nothing of ${model} is in the index`);
    return;
  }
  terminal.table(
    ["worker", "rank", "group", "lora", "block size", ...TIERS],
    holdings.map(({ worker, dp_rank, group, lora_name, block_size, blocks }) => [
      worker,
      String(dp_rank ?? "-"),
      groupText(group),
      lora_name ?? "-",
      String(block_size),
      ...blocks.map(whole),
    ]),
  );
}

function unusable(url: string, expected: string, cause?: unknown): ToolError {
  const reason = `not a dump; expected ${expected}`;
  return new ToolError({ code: "unusable_answer", url, reason }, `${url}: ${reason}`, { cause });
}
