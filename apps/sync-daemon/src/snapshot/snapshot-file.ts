/**
 * A snapshot as a file: where every stream stood and what the index held at that moment.
 *
 *     magic 8 bytes │ format u32 │ section*                                      all numbers little-endian
 *     section: kind u32 │ length u32 │ sha-256 of (the digest before │ kind │ length │ payload) │ payload
 *
 *     head      once, first: who wrote it and when, hash seed, streams with their positions           msgpack
 *     context   the key of the rows that follow                                                       msgpack
 *     rows      holders of the last context, INDEX_ROW_BYTES each (core, index-copy.ts)               bytes
 *     order     which contexts a rank has stored to, the last one last                                msgpack
 *     parked    one store that waits for its parent                                                   msgpack
 *     end       once, last: how many rows and parked stores there are                                 msgpack
 *
 * Invariants
 *  F1  Every byte is covered by a digest, and each digest by the next: flipped, cut, swapped or
 *      repeated bytes are detected.
 *  F2  Nothing is applied before the whole file was read and checked once. Both readings use one descriptor, so that a new
 *      file under the same name changes nothing.
 *  F3  A snapshot is on the disk before it takes the name of the one before, which stays under a second name. A crash at
 *      any moment leaves each of the two names as it was or as it will be.
 *
 * Not here: when to write, what to do with a refusal (snapshot-store.ts), the index (core).
 */

import { createHash } from "node:crypto";
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  linkSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";

import { decode, encode } from "@msgpack/msgpack";
import {
  CONTENT_NAMES_KEPT_MAX,
  CONTEXTS_KEPT_MAX,
  type ContextKey,
  EVENT_DROP_REASONS,
  type EventDropReason,
  GROUP_KINDS,
  GROUP_RULES,
  type GroupRule,
  GROUPS_PER_RANK_MAX,
  type HashSeed,
  HOLDER_SLOTS_MAX,
  holderSlotOf,
  holderTierOf,
  INDEX_ROW_BYTES,
  INDEX_ROW_COPIES,
  INDEX_ROW_HOLDER,
  type IndexCopy,
  IndexCopyReader,
  type IndexImport,
  LEDGER_NAMES_KEPT_MAX,
  LOOKAHEAD_MAX,
  type ParkedRecord,
  RANK_BLOCK_SIZES_MAX,
  RANK_SLOTS_MAX,
  REPORT_MODES,
  type Tier,
  TIERS,
  UNKNOWN_KINDS_MAX,
  TRUST_REASON_NAMES,
  type TrustReason,
} from "@kvsync/core";
import { z } from "zod";

import type { SnapshotStream } from "../engine/followed-rank.ts";
import { ioFailed, SnapshotError } from "./snapshot-error.ts";

/**
 * Raised when a file cannot be read any more by what could read the one before. Format 1 did not say
 * how far a block looks ahead: its blocks may be taken for shorter ones, so such a file is refused.
 */
const SNAPSHOT_FORMAT = 2;
/** Before the seed of keyed prefix hashes. */
const KEYED = "keyed:";

const MAGIC = Buffer.from("KVSYNCSN", "latin1");
const PREAMBLE_BYTES = MAGIC.length + 4;
const SECTION_HEAD_BYTES = 8;
const DIGEST_BYTES = 32;
/** A head with 4,096 streams is below 4 MiB, rows come in pages of 1.5 MiB, the largest parked store takes 8.4 MiB. */
const SECTION_BYTES_MAX = 32 * 1024 * 1024;
/**
 * Copies of one block at one holder: an engine has thousands of blocks, not millions of copies of one. One that announces
 * everything again and again, followed as if it did not, comes to more: what is beyond is not kept.
 */
const COPIES_MAX = 1_000_000;

const KINDS = ["head", "context", "rows", "order", "parked", "end"] as const;
type Kind = (typeof KINDS)[number];

const count = z.int().min(0);
const u32 = z.int().min(0).max(0xffff_ffff);
const rankSlot = z
  .int()
  .min(0)
  .max(RANK_SLOTS_MAX - 1);
const mark = z.object({ sequenceNumber: z.int().min(-1), low: z.int(), high: z.int(), atMs: z.number() });
const dropReason = z.enum(EVENT_DROP_REASONS as readonly [EventDropReason]);
const trustReason = z.enum(TRUST_REASON_NAMES as readonly [TrustReason]);
/** Files written before kinds were kept have none. */
const groupKind = z.enum(GROUP_KINDS).default("none");
const groupShape = z.object({
  slot: z
    .int()
    .min(RANK_SLOTS_MAX)
    .max(HOLDER_SLOTS_MAX - 1),
  index: z.int().min(-1).max(0xffff_ffff),
  rule: z.enum(Object.keys(GROUP_RULES) as [GroupRule]),
  kind: groupKind,
  windowTokens: u32,
  blockSize: z.int().min(1).max(0xffff_ffff),
});
const rankContext = z.object({
  loraName: z.string().nullable(),
  blockSize: z.int().min(1),
  lookahead: z.int().min(0).max(LOOKAHEAD_MAX),
});
const signs = z.object({
  reusesWholeMatch: z.boolean(),
  hasShownGroups: z.boolean(),
  hasStoredOne: z.boolean(),
  storesParts: z.boolean().optional(),
});
const position = z.object({
  lastSequenceNumber: count,
  begunAt: count,
  lastBatchTimestampSeconds: z.number().nullable(),
  fence: z.object({ anchor: mark, newer: mark, last: mark }),
  suspectSinceMs: z.number().optional(),
  applier: z.object({
    groups: z.object({
      main: z.int().min(-1).nullable(),
      mainBlockSize: count,
      mainKind: groupKind,
      contextBlockSize: count,
      scoutedCount: count.default(0),
      groups: z.array(groupShape).max(GROUPS_PER_RANK_MAX),
      others: z.array(z.tuple([z.int().min(-1), dropReason])).max(64),
      isSetAside: z.boolean(),
    }),
    blockSizes: z
      .array(z.int().min(1))
      .max(RANK_BLOCK_SIZES_MAX + 1)
      .optional(),
    outlivesClear: z.boolean(),
    losses: z.array(trustReason).max(TRUST_REASON_NAMES.length),
    historyFrom: count,
    overReportsSince: z.int().min(-1),
    uncertainCopies: z
      .array(z.tuple([u32, u32, u32, z.int().min(1), z.boolean()]))
      .max(LEDGER_NAMES_KEPT_MAX),
    contentNames: z.union([z.literal("all"), z.array(z.tuple([u32, u32])).max(CONTENT_NAMES_KEPT_MAX)]),
    contexts: z.array(rankContext).max(CONTEXTS_KEPT_MAX).nullable().optional(),
    conditions: z
      .array(z.tuple([trustReason, count]))
      .max(TRUST_REASON_NAMES.length)
      .optional(),
    signs: signs.optional(),
    unknownKinds: z.array(z.string()).max(UNKNOWN_KINDS_MAX).optional(),
    hasParkedBelowDevice: z.boolean(),
    hasGivenUp: z.boolean(),
  }),
});
const contextKey = z.object({
  model: z.string(),
  loraName: z.string().nullable(),
  blockSize: z.int().min(1),
  lookahead: z.int().min(0).max(LOOKAHEAD_MAX),
});
const streamShape = z.object({
  rankSlot,
  workerId: z.string(),
  model: z.string(),
  dpRank: count,
  endpoint: z.string(),
  topic: z.string(),
  reportMode: z.enum(REPORT_MODES),
  position,
});
const headShape = z.object({
  productVersion: z.string(),
  /** Of a daemon that follows a part of the fleet. */
  shard: z.object({ index: count, count: z.int().min(1) }).optional(),
  createdMs: z.number(),
  hashSeed: z.string().regex(/^(?:keyed:)?\d{1,20}$/),
  streams: z.array(streamShape).max(RANK_SLOTS_MAX),
});
const orderShape = z.object({
  rankSlot: z
    .int()
    .min(0)
    .max(HOLDER_SLOTS_MAX - 1),
  contexts: z.array(contextKey).max(RANK_SLOTS_MAX),
});
const bytes = z.instanceof(Uint8Array);
const parkedShape = z.object({
  context: contextKey,
  /** Of a rank or of one of its groups. */
  rankSlot: z
    .int()
    .min(0)
    .max(HOLDER_SLOTS_MAX - 1),
  tier: z.int().min(0).max(3),
  parentLow: u32,
  parentHigh: u32,
  tokens: bytes,
  hashes: bytes,
  extraDigests: bytes.nullable(),
  removed: bytes,
});
const endShape = z.object({ rows: count, parked: count });

/** The first section. */
export interface SnapshotHead {
  readonly productVersion: string;
  /** When the copy was taken, Unix milliseconds. */
  readonly createdMs: number;
  /** As `seedText` writes it. Rows of another seed mean nothing here. As secret as the file. */
  readonly hashSeed: string;
  readonly streams: readonly SnapshotStream[];
  /** The part of the fleet that its writer followed; absent for all of it. */
  readonly shard?: { readonly index: number; readonly count: number } | undefined;
}

/** Which streams of a file are taken, and the slots that they get. */
export interface SlotPlan {
  readonly streams: readonly SnapshotStream[];
  /** By holder slot in the file; slots that are not there are passed over. */
  readonly slots: ReadonlyMap<number, number>;
}

/** What a file holds, as told without applying it. */
export interface SnapshotSummary {
  readonly head: SnapshotHead;
  readonly contexts: readonly (ContextKey & { readonly rows: number })[];
  readonly rows: number;
  readonly parked: number;
  readonly bytes: number;
}

/**
 * Writes a snapshot: beside its place, then into it (F3).
 *
 * @param path - of the file; the one before becomes `path` + ".previous".
 * @param head - first section.
 * @param copies - of the parts of the index; nothing else reads them.
 * @returns rows, parked stores and bytes written.
 * @throws SnapshotError io_failed; what was there stays as it was.
 */
export function writeSnapshot(
  path: string,
  head: SnapshotHead,
  ...copies: readonly IndexCopy[]
): { readonly rows: number; readonly parked: number; readonly bytes: number } {
  const temporary = `${path}.writing`;
  try {
    const written = writeSections(temporary, head, copies);
    if (exists(path)) keepPrevious(path);
    renameSync(temporary, path);
    syncFolder(dirname(path));
    return written;
  } catch (error) {
    discard(temporary);
    throw ioFailed(path, error);
  }
}

/** By a third name and a rename: a crash between removing the old name and linking the new one would leave none (F3). */
function keepPrevious(path: string): void {
  const linked = `${path}.linked`;
  rmSync(linked, { force: true });
  linkSync(path, linked);
  renameSync(linked, `${path}.previous`);
  // A rename between two names of one file does nothing: a crash before the new snapshot took its name left both.
  rmSync(linked, { force: true });
}

/** As far as it goes: where nothing can be written, often nothing can be removed either, and what failed first is what matters. */
function discard(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch (error) {
    if (!(error instanceof Error && "code" in error)) throw error;
  }
}

function writeSections(
  path: string,
  head: SnapshotHead,
  copies: readonly IndexCopy[],
): { readonly rows: number; readonly parked: number; readonly bytes: number } {
  const file = new SectionWriter(path);
  try {
    const wanted = new Set(head.streams.flatMap(holderSlots));
    const sources = copies.map((copy) => {
      const source = new IndexCopyReader(copy);
      return { source, keys: new Map(source.contexts().map(({ id, key }) => [id, key] as const)) };
    });
    let rows = 0;
    file.pack("head", head);
    for (const [key, places] of placesOf(sources)) {
      file.pack("context", key);
      for (const { source, id } of places)
        for (const page of source.rows(id)) {
          boundCopies(page);
          file.write("rows", page);
          rows += page.byteLength / INDEX_ROW_BYTES;
        }
    }
    for (const { source, keys } of sources)
      for (const slot of wanted) {
        const contexts = source.rankContexts(slot).flatMap((id) => keys.get(id) ?? []);
        if (contexts.length > 0) file.pack("order", { rankSlot: slot, contexts });
      }
    const parked = copies.flatMap((copy) => copy.parked).filter((store) => wanted.has(store.rankSlot));
    for (const { tokens, hashes, extraDigests, ...store } of parked) {
      file.pack("parked", {
        ...store,
        tokens: bytesOf(tokens),
        hashes: bytesOf(hashes),
        extraDigests: extraDigests === null ? null : bytesOf(extraDigests),
      });
    }
    file.pack("end", { rows, parked: parked.length });
    return { rows, parked: parked.length, bytes: file.finish() };
  } finally {
    file.close();
  }
}

/** A copy that is read, with the keys of its contexts. */
interface CopySource {
  readonly source: IndexCopyReader;
  readonly keys: ReadonlyMap<number, ContextKey>;
}

/** Each key once, and where its context is. */
function placesOf(
  sources: readonly CopySource[],
): ReadonlyMap<ContextKey, { readonly source: IndexCopyReader; readonly id: number }[]> {
  const named = new Map<string, ContextKey>();
  const places = new Map<ContextKey, { readonly source: IndexCopyReader; readonly id: number }[]>();
  for (const { source, keys } of sources)
    for (const [id, key] of keys) {
      const text = JSON.stringify([key.model, key.loraName, key.blockSize, key.lookahead]);
      const one = named.get(text) ?? key;
      named.set(text, one);
      places.set(one, [...(places.get(one) ?? []), { source, id }]);
    }
  return places;
}

/** An engine that stores a block over and over and removes it as rarely must not make a file that is refused. */
export function boundCopies(rows: Uint8Array): void {
  const view = new DataView(rows.buffer, rows.byteOffset, rows.byteLength);
  for (let at = INDEX_ROW_COPIES; at < rows.byteLength; at += INDEX_ROW_BYTES)
    if (view.getUint32(at, true) > COPIES_MAX) view.setUint32(at, COPIES_MAX, true);
}

/**
 * Reads a whole file and checks it, changing nothing.
 *
 * @param path - of the file.
 * @returns what it holds.
 * @throws SnapshotError of every code but fetch_failed and too_large.
 */
export function verifySnapshot(path: string): SnapshotSummary {
  const snapshot = openSnapshot(path);
  snapshot.close();
  return snapshot.summary;
}

/** A file that was found whole, and is kept open. */
export interface OpenSnapshot {
  readonly summary: SnapshotSummary;
  /**
   * Fills an index from it.
   *
   * @param target - import of an index without the slots that rows get.
   * @param plan - what is taken; all of it, with the slots as they are, without one.
   * @returns the number of rows taken.
   * @throws SnapshotError where the file was changed in place since; then the index may hold rows.
   */
  load(target: IndexImport, plan?: SlotPlan): number;
  close(): void;
}

/**
 * Reads a whole file, checks it, and keeps it open (F2).
 *
 * @param path - of the file.
 * @returns it; the caller closes it.
 * @throws SnapshotError of every code but fetch_failed and too_large.
 */
export function openSnapshot(path: string): OpenSnapshot {
  const file = new SectionReader(path);
  try {
    const { summary } = readSections(file, null);
    return {
      summary,
      load: (target, plan = planOfAll(summary.head.streams)) => {
        file.rewind();
        return readSections(file, target, plan).taken;
      },
      close: () => {
        file.close();
      },
    };
  } catch (error) {
    file.close();
    throw error;
  }
}

/**
 * Fills an index from a file, after checking all of it (F2).
 *
 * @param path - of the file.
 * @param target - an empty index's import.
 * @param hashSeed - `seedText` of the index's.
 * @returns what the file holds; streams that limits left incomplete, or that have none, are the caller's to look at.
 * @throws SnapshotError likewise; then the index may hold rows of ranks that the caller must clear.
 */
export function loadSnapshot(path: string, target: IndexImport, hashSeed: string): SnapshotSummary {
  const snapshot = openSnapshot(path);
  try {
    if (snapshot.summary.head.hashSeed !== hashSeed) throw otherSeed(path);
    snapshot.load(target);
    return snapshot.summary;
  } finally {
    snapshot.close();
  }
}

/**
 * A seed as the head of a file has it: decimal, with a mark where hashes are keyed. Versions without such hashes take the mark for a
 * damage, and start cold.
 */
export function seedText({ seed, hasKeyedHashes }: Pick<IndexCopy, "seed" | "hasKeyedHashes">): string {
  return `${hasKeyedHashes ? KEYED : ""}${seed}`;
}

/** Without the seeds: they are secret, and messages are logged. */
export function otherSeed(path: string): SnapshotError {
  const message = `snapshot ${path}: was made with another hash seed: index.prefix_hashes or index.seed_file was changed since, or it is another daemon's or an earlier version's`;
  return new SnapshotError({ code: "other_hash_seed", path }, message);
}

/**
 * Writes a part of a file: the streams of some workers, and what they hold.
 *
 * @param from - the file; it is checked while it is read.
 * @param to - where the part goes; it must not be read before this returns.
 * @param isWanted - whether a worker's streams are part of it.
 * @throws SnapshotError of every code but fetch_failed and too_large; then there is no part.
 */
export function writePart(from: string, to: string, isWanted: (workerId: string) => boolean): void {
  const source = new SectionReader(from);
  let part: SectionWriter | null = null;
  try {
    part = new SectionWriter(to);
    copyPart(source, part, isWanted);
    part.finish();
  } catch (error) {
    discard(to);
    throw error instanceof SnapshotError ? error : ioFailed(to, error);
  } finally {
    part?.close();
    source.close();
  }
}

function copyPart(source: SectionReader, part: SectionWriter, isWanted: (workerId: string) => boolean): void {
  const head = source.parsed(source.next(), "head", headShape);
  const plan = planOfAll(head.streams.filter(({ workerId }) => isWanted(workerId)));
  part.pack("head", { ...head, streams: plan.streams });
  let context: Uint8Array | null = null;
  let [rows, parked] = [0, 0];
  for (let section = source.next(); section.kind !== "end"; section = source.next()) {
    const { kind, payload } = section;
    if (kind === "context") context = payload;
    else if (kind === "rows") {
      checkRows(source, payload);
      const kept = keptRows(payload, plan);
      if (kept.byteLength === 0) continue;
      if (context !== null) part.write("context", context);
      context = null;
      part.write("rows", kept);
      rows += kept.byteLength / INDEX_ROW_BYTES;
    } else if (kind === "order") {
      if (plan.slots.has(source.parsed(section, "order", orderShape).rankSlot)) part.write(kind, payload);
    } else if (kind === "parked") {
      if (!plan.slots.has(source.parsed(section, "parked", parkedShape).rankSlot)) continue;
      part.write(kind, payload);
      parked += 1;
    }
  }
  part.pack("end", { rows, parked });
}

/** Streams with the slots that they have. */
function planOfAll(streams: readonly SnapshotStream[]): SlotPlan {
  return { streams, slots: new Map(streams.flatMap(holderSlots).map((slot) => [slot, slot])) };
}

/** The rows of a plan, in their order and with their new slots; in the memory of the section. */
function keptRows(payload: Uint8Array, { slots }: SlotPlan): Uint8Array {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  let end = 0;
  for (let at = 0; at < payload.byteLength; at += INDEX_ROW_BYTES) {
    const holder = view.getUint32(at + INDEX_ROW_HOLDER, true);
    const old = holderSlotOf(holder);
    const slot = slots.get(old);
    if (slot === undefined) continue;
    if (end !== at) payload.copyWithin(end, at, at + INDEX_ROW_BYTES);
    view.setUint32(end + INDEX_ROW_HOLDER, holder - old + slot, true);
    end += INDEX_ROW_BYTES;
  }
  return payload.subarray(0, end);
}

/**
 * The seed in a file's head; the rest is not looked at.
 *
 * @param path - of the file.
 * @returns the seed.
 * @throws SnapshotError when it has no sound head.
 */
export function snapshotSeed(path: string): HashSeed {
  const file = new SectionReader(path);
  try {
    const text = file.parsed(file.next(), "head", headShape).hashSeed;
    const isKeyed = text.startsWith(KEYED);
    return { value: BigInt.asUintN(64, BigInt(isKeyed ? text.slice(KEYED.length) : text)), isKeyed };
  } finally {
    file.close();
  }
}

/** Reads all sections of a file that is at its first one, and hands what they hold to `target`. */
function readSections(
  file: SectionReader,
  target: IndexImport | null,
  plan: SlotPlan = { streams: [], slots: new Map() },
): { readonly summary: SnapshotSummary; readonly taken: number } {
  const head = file.parsed(file.next(), "head", headShape);
  if (target !== null) for (const stream of plan.streams) openGroups(target, stream);
  const contexts: (ContextKey & { rows: number })[] = [];
  let [rows, taken, parked] = [0, 0, 0];
  for (let section = file.next(); section.kind !== "end"; section = file.next()) {
    if (section.kind === "context")
      contexts.push({ ...file.parsed(section, "context", contextKey), rows: 0 });
    else if (section.kind === "rows") {
      const context = contexts.at(-1);
      if (context === undefined) throw file.malformed("a context before its rows");
      const added = checkRows(file, section.payload);
      rows += added;
      context.rows += added;
      if (target !== null) taken += target.add(keyOf(context), keptRows(section.payload, plan), () => true);
    } else if (section.kind === "order") takeOrder(file.parsed(section, "order", orderShape), target, plan);
    else if (section.kind === "parked") {
      takeParked(parkedRecord(file, file.parsed(section, "parked", parkedShape)), target, plan);
      parked += 1;
    } else throw file.malformed("one head");
  }
  const end = file.parsed(file.last, "end", endShape);
  if (end.rows !== rows || end.parked !== parked)
    throw file.malformed(`${end.rows} rows and ${end.parked} parked stores`);
  file.expectEnd();
  return { summary: { head, contexts, rows, parked, bytes: file.offset }, taken };
}

function takeOrder(
  { rankSlot: old, contexts }: z.output<typeof orderShape>,
  target: IndexImport | null,
  { slots }: SlotPlan,
): void {
  const slot = slots.get(old);
  if (slot !== undefined) target?.order(slot, contexts);
}

function takeParked(store: ParkedRecord, target: IndexImport | null, { slots }: SlotPlan): void {
  const slot = slots.get(store.rankSlot);
  if (slot !== undefined) target?.park({ ...store, rankSlot: slot });
}

/** A stream's rank slot, and those of its KV-cache groups. */
function holderSlots({ rankSlot: slot, position: { applier } }: SnapshotStream): number[] {
  return [slot, ...applier.groups.groups.map((group) => group.slot)];
}

function openGroups(target: IndexImport, { rankSlot: slot, position: { applier } }: SnapshotStream): void {
  const { main: index, mainBlockSize: blockSize, mainKind: kind, groups } = applier.groups;
  target.groups(slot, index === null || blockSize === 0 ? null : { index, kind, blockSize }, groups);
}

function keyOf({ model, loraName, blockSize, lookahead }: ContextKey): ContextKey {
  return { model, loraName, blockSize, lookahead };
}

/** Rows in a section, each with a rank, a tier and copies that there can be. */
function checkRows(file: SectionReader, payload: Uint8Array): number {
  if (payload.byteLength % INDEX_ROW_BYTES !== 0)
    throw file.malformed(`whole rows of ${INDEX_ROW_BYTES} bytes`);
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  for (let at = 0; at < payload.byteLength; at += INDEX_ROW_BYTES) {
    const copies = view.getUint32(at + INDEX_ROW_COPIES, true);
    const holder = view.getUint32(at + INDEX_ROW_HOLDER, true);
    const isHolder = holderSlotOf(holder) < HOLDER_SLOTS_MAX && holderTierOf(holder) < TIERS.length;
    if (!isHolder || copies < 1 || copies > COPIES_MAX)
      throw file.malformed("rows with a rank slot, a tier and at least one copy");
  }
  return payload.byteLength / INDEX_ROW_BYTES;
}

function parkedRecord(file: SectionReader, store: z.output<typeof parkedShape>) {
  const { tokens, hashes, extraDigests, removed, tier, ...rest } = store;
  const blocks = removed.byteLength;
  const tokenCount = blocks * store.context.blockSize + store.context.lookahead;
  const fits =
    hashes.byteLength === 8 * blocks &&
    tokens.byteLength === 4 * tokenCount &&
    (extraDigests === null || extraDigests.byteLength === 8 * blocks) &&
    removed.every((flag) => flag <= 1);
  if (!fits) throw file.malformed(`a parked store of ${blocks} blocks`);
  return {
    ...rest,
    tier: tier as Tier,
    tokens: wordsOf(tokens),
    hashes: wordsOf(hashes),
    extraDigests: extraDigests === null ? null : wordsOf(extraDigests),
    removed: new Uint8Array(removed),
  };
}

function bytesOf(words: Uint32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}

/** Copied, since a section's bytes need not lie on a boundary of words. Not by `slice`: a section is a Buffer, whose slices are views of all of it. */
function wordsOf(raw: Uint8Array): Uint32Array {
  return new Uint32Array(new Uint8Array(raw).buffer);
}

function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** A new name is safe only once its folder is. */
function syncFolder(folder: string): void {
  const descriptor = openSync(folder, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** The digest that covers a section, and through `before` everything in front of it. */
function digestOf(before: Uint8Array, head: Uint8Array, payload: Uint8Array): Buffer {
  return createHash("sha256").update(before).update(head).update(payload).digest();
}

function preamble(): Buffer {
  const start = Buffer.alloc(PREAMBLE_BYTES);
  MAGIC.copy(start);
  start.writeUInt32LE(SNAPSHOT_FORMAT, MAGIC.length);
  return start;
}

class SectionWriter {
  readonly #descriptor: number;
  #digest: Uint8Array;
  #bytes = 0;

  constructor(path: string) {
    this.#descriptor = openSync(path, "w", 0o600);
    const start = preamble();
    this.#digest = start;
    this.#put(start);
  }

  pack(kind: Kind, value: unknown): void {
    this.write(kind, encode(value));
  }

  write(kind: Kind, payload: Uint8Array): void {
    const head = Buffer.alloc(SECTION_HEAD_BYTES);
    head.writeUInt32LE(KINDS.indexOf(kind));
    head.writeUInt32LE(payload.byteLength, 4);
    // Hashing refuses memory that is shared between threads.
    const own = payload.buffer instanceof SharedArrayBuffer ? payload.slice() : payload;
    this.#digest = digestOf(this.#digest, head, own);
    this.#put(head);
    this.#put(this.#digest);
    this.#put(own);
  }

  finish(): number {
    fsyncSync(this.#descriptor);
    return this.#bytes;
  }

  close(): void {
    closeSync(this.#descriptor);
  }

  #put(chunk: Uint8Array): void {
    for (let done = 0; done < chunk.byteLength; ) done += writeSync(this.#descriptor, chunk, done);
    this.#bytes += chunk.byteLength;
  }
}

interface Section {
  readonly kind: Kind;
  readonly payload: Uint8Array;
}

class SectionReader {
  readonly #path: string;
  readonly #descriptor: number;
  #digest: Uint8Array;
  #offset = 0;
  #sectionAt = 0;
  #last: Section | null = null;

  constructor(path: string) {
    this.#path = path;
    try {
      // Without waiting for whoever might write into a pipe.
      this.#descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    } catch (error) {
      throw ioFailed(path, error);
    }
    try {
      if (!fstatSync(this.#descriptor).isFile()) throw ioFailed(path, "is no regular file");
      this.#digest = this.#readPreamble();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Goes back to the first section. */
  rewind(): void {
    this.#offset = 0;
    this.#digest = this.#readPreamble();
  }

  /** Bytes read so far. */
  get offset(): number {
    return this.#offset;
  }

  /** The section read last. */
  get last(): Section {
    return this.#last ?? { kind: "head", payload: new Uint8Array() };
  }

  /** The next section, its digest checked. */
  next(): Section {
    this.#sectionAt = this.#offset;
    const head = this.#take(SECTION_HEAD_BYTES);
    const kind = KINDS[head.readUInt32LE()];
    const length = head.readUInt32LE(4);
    if (kind === undefined || length > SECTION_BYTES_MAX)
      throw this.malformed(`a section of a known kind, at most ${SECTION_BYTES_MAX} bytes long`);
    const digest = this.#take(DIGEST_BYTES);
    const payload = this.#take(length);
    if (!digestOf(this.#digest, head, payload).equals(digest)) {
      const facts = { code: "checksum_mismatch", path: this.#path, offset: this.#sectionAt } as const;
      throw new SnapshotError(
        facts,
        `snapshot ${this.#path}: the ${kind} section at byte ${this.#sectionAt} is damaged`,
      );
    }
    this.#digest = digest;
    this.#last = { kind, payload };
    return this.#last;
  }

  /** A section's value, checked. */
  parsed<Shape extends z.ZodType>(section: Section, kind: Kind, shape: Shape): z.output<Shape> {
    if (section.kind !== kind) throw this.malformed(`a ${kind} section, not ${section.kind}`);
    let value: unknown;
    try {
      value = decode(section.payload);
    } catch {
      throw this.malformed(`msgpack in a ${kind} section`);
    }
    const result = shape.safeParse(value);
    if (!result.success)
      throw this.malformed(`a ${kind} section: ${z.prettifyError(result.error).replaceAll("\n", " ")}`);
    return result.data;
  }

  /** Nothing may follow the end. */
  expectEnd(): void {
    if (readSync(this.#descriptor, Buffer.alloc(1), 0, 1, this.#offset) !== 0)
      throw this.malformed("nothing behind the end section");
  }

  close(): void {
    closeSync(this.#descriptor);
  }

  malformed(expected: string): SnapshotError {
    const facts = { code: "malformed_section", path: this.#path, offset: this.#sectionAt, expected } as const;
    return new SnapshotError(facts, `snapshot ${this.#path}: byte ${this.#sectionAt}: expected ${expected}`);
  }

  #readPreamble(): Buffer {
    const start = this.#take(PREAMBLE_BYTES);
    if (!start.subarray(0, MAGIC.length).equals(MAGIC))
      throw new SnapshotError(
        { code: "not_a_snapshot", path: this.#path },
        `${this.#path} is not a snapshot of kvsync`,
      );
    const format = start.readUInt32LE(MAGIC.length);
    if (format !== SNAPSHOT_FORMAT) {
      const facts = { code: "other_format", path: this.#path, format, expected: SNAPSHOT_FORMAT } as const;
      throw new SnapshotError(
        facts,
        `snapshot ${this.#path}: format ${format}, this version reads ${SNAPSHOT_FORMAT}`,
      );
    }
    return start;
  }

  #take(length: number): Buffer {
    const chunk = Buffer.allocUnsafe(length);
    let done = 0;
    while (done < length) {
      let read: number;
      try {
        read = readSync(this.#descriptor, chunk, done, length - done, this.#offset + done);
      } catch (error) {
        throw ioFailed(this.#path, error);
      }
      if (read === 0) {
        const facts = { code: "truncated", path: this.#path, offset: this.#offset + done } as const;
        throw new SnapshotError(
          facts,
          `snapshot ${this.#path}: ends at byte ${this.#offset + done}, in the middle`,
        );
      }
      done += read;
    }
    this.#offset += length;
    return chunk;
  }
}
