/**
 * The audit: the engines' contents, row by row, against the daemon's dump of them.
 *
 *     truth   (stream, context, tier, prefix hash) → copies, and the number of the message that announced each
 *     dump    (stream, context, tier, prefix hash) → copies, 0 when the daemon does not count them; those that may be
 *             reports are not counted
 *
 *     A1  Nothing is in the dump that is not in the truth, whatever the stream's trust: no ghosts.
 *     A2  A stream that the daemon calls exact misses nothing. No stream has more copies of a block than the engine.
 *     A3  Another stream may miss what it could not have learnt from the messages since
 *         `history_from_sequence_number` (H): a block is learnable when one of its copies was announced at H or later and
 *         its parent is learnable as well, or it has none. What it misses beyond that is a difference.
 *         Not excused, since neither side tells: a block in two copies, announced before and after H, of which the engine
 *         dropped the older one. The daemon must then forget it; the audit would list it. No run has shown one.
 *     A4  Every stream of the truth is known to the daemon, and no other is.
 *
 * A stream is one (worker, DP rank). The caller ensures quiescence: engines idle, everything
 * published and applied.
 * A3 needs each block's parent, which neither side reports. The caller rebuilds it from the prompts
 *    (lineage.ts).
 *
 * Hashes are bigint here: an audit runs seldom, and a Map is the plainest code there is (about 1 s per million rows).
 */

/** Tier numbers of the dump, by name. */
const TIER_NAMES = ["device", "host", "disk", "remote"] as const;

/** What one stream holds, one row per (context, tier, prefix hash). All columns are of one length. */
export interface StreamHoldings {
  readonly worker: string;
  readonly dpRank: number;
  /** Context of each row: the LoRA adapter's name, "" for the base model. */
  readonly adapters: readonly string[];
  /** Position in `adapters`, by row. */
  readonly adapterOf: Uint16Array;
  readonly tierOf: Uint8Array;
  readonly hashes: BigUint64Array;
  /** Copies by row; 0 when not known. */
  readonly copies: Uint32Array;
}

/** The truth about one stream: its rows are physical copies, so a block may have several rows. */
export interface EngineTruth extends Omit<StreamHoldings, "copies"> {
  /** Number of the message that announced this copy, by row. */
  readonly announcedIn: Float64Array;
}

/** What the daemon says of one stream's reliability. */
export interface StreamStanding {
  readonly worker: string;
  readonly dpRank: number;
  readonly trust: string;
  /** First number from which the index reflects the stream without loss; 0 for all of it. */
  readonly historyFrom: number;
}

/** The kinds of difference. `ghost`: only in the dump. `missing`: only in the truth. */
type DifferenceKind = "ghost" | "missing" | "copies" | "unknown_stream" | "missing_stream";

/** One difference. */
export interface Difference {
  readonly kind: DifferenceKind;
  readonly worker: string;
  readonly dpRank: number;
  readonly adapter: string;
  readonly tier: string;
  /** 16 hex digits, or "" for a whole stream. */
  readonly prefixHash: string;
  /** Newest message that announced it; null when the engine never did, or for a whole stream. */
  readonly announcedIn: number | null;
  readonly enginesCopies: number;
  readonly daemonsCopies: number;
}

/** What an audit found. */
export interface AuditResult {
  /** Distinct (stream, context, tier, prefix hash) that the engines hold. */
  readonly heldCount: number;
  /** Rows of the dump. */
  readonly dumpedCount: number;
  readonly differenceCount: number;
  /** The first DIFFERENCES_LISTED_MAX. */
  readonly differences: readonly Difference[];
  /** Held, not dumped, and excused by A3. */
  readonly excusedCount: number;
  /** Streams by trust. */
  readonly streamsByTrust: Readonly<Record<string, number>>;
}

/**
 * Parents of blocks, for A3. Asked once per stream that is not exact and misses something, for everything that it holds.
 *
 * @returns by prefix hash, the parent's; null for the first block of a prompt; absent when not known.
 */
export type LineageOf = (stream: EngineTruth) => ReadonlyMap<bigint, bigint | null>;

/** More would not be read; the count tells the rest. */
export const DIFFERENCES_LISTED_MAX = 20;

/** One (context, tier, prefix hash) of one engine. */
interface Held {
  readonly adapter: string;
  readonly tier: number;
  readonly hash: bigint;
  copies: number;
  announcedIn: number;
  /** Whether the daemon has it. */
  dumped: boolean;
}

/**
 * Compares.
 *
 * @param truths - every stream of the engines.
 * @param dump - every stream that the daemon knows, with or without rows.
 * @param standings - the daemon's word on each of its streams.
 * @param lineageOf - asked only about streams that are not exact and miss something.
 * @returns the findings; no differences means A1 to A4 hold. O(rows).
 */
export function audit(
  truths: readonly EngineTruth[],
  dump: readonly StreamHoldings[],
  standings: readonly StreamStanding[],
  lineageOf: LineageOf,
): AuditResult {
  const findings = new Findings();
  const dumpByStream = new Map(dump.map((holdings) => [streamKey(holdings), holdings]));
  const standingByStream = new Map(standings.map((standing) => [streamKey(standing), standing]));
  const streamsByTrust: Record<string, number> = {};
  for (const truth of truths) {
    const key = streamKey(truth);
    const standing = standingByStream.get(key);
    const holdings = dumpByStream.get(key);
    dumpByStream.delete(key);
    standingByStream.delete(key);
    if (standing === undefined) {
      findings.stream("missing_stream", truth);
      continue;
    }
    streamsByTrust[standing.trust] = (streamsByTrust[standing.trust] ?? 0) + 1;
    compareStream(truth, holdings ?? null, standing, lineageOf, findings);
  }
  for (const stranger of [...standingByStream.values(), ...dumpByStream.values()]) {
    findings.stream("unknown_stream", stranger);
  }
  return { ...findings.summary(), streamsByTrust };
}

function streamKey(stream: { readonly worker: string; readonly dpRank: number }): string {
  return `${stream.worker}\n${stream.dpRank}`;
}

/** One engine's truth with its physical copies grouped: (context, tier) → prefix hash → what is held. */
class HeldBlocks {
  readonly #groups = new Map<string, Map<bigint, Held>>();
  count = 0;

  constructor(truth: EngineTruth) {
    truth.hashes.forEach((hash, row) => {
      const adapter = truth.adapters[truth.adapterOf[row] ?? 0] ?? "";
      const tier = truth.tierOf[row] ?? 0;
      const announcedIn = truth.announcedIn[row] ?? 0;
      const known = this.find(adapter, tier, hash);
      if (known === undefined) {
        this.#groupOf(adapter, tier).set(hash, {
          adapter,
          tier,
          hash,
          copies: 1,
          announcedIn,
          dumped: false,
        });
        this.count += 1;
      } else {
        known.copies += 1;
        known.announcedIn = Math.max(known.announcedIn, announcedIn);
      }
    });
  }

  find(adapter: string, tier: number, hash: bigint): Held | undefined {
    return this.#groups.get(`${tier}/${adapter}`)?.get(hash);
  }

  *missing(): Generator<Held, void, undefined> {
    for (const group of this.#groups.values()) {
      for (const held of group.values()) if (!held.dumped) yield held;
    }
  }

  #groupOf(adapter: string, tier: number): Map<bigint, Held> {
    const key = `${tier}/${adapter}`;
    const known = this.#groups.get(key);
    if (known !== undefined) return known;
    const group = new Map<bigint, Held>();
    this.#groups.set(key, group);
    return group;
  }
}

/** A1, A2, A3 for one stream. */
function compareStream(
  truth: EngineTruth,
  holdings: StreamHoldings | null,
  standing: StreamStanding,
  lineageOf: LineageOf,
  findings: Findings,
): void {
  const exact = standing.trust === "exact";
  const blocks = new HeldBlocks(truth);
  findings.heldCount += blocks.count;
  findings.dumpedCount += holdings?.hashes.length ?? 0;
  holdings?.hashes.forEach((hash, row) => {
    const adapter = holdings.adapters[holdings.adapterOf[row] ?? 0] ?? "";
    const tier = holdings.tierOf[row] ?? 0;
    const copies = holdings.copies[row] ?? 0;
    const held = blocks.find(adapter, tier, hash);
    if (held === undefined || held.dumped) {
      const ghost = { adapter, tier, hash, copies: 0, announcedIn: Number.NaN, dumped: true };
      findings.row("ghost", truth, ghost, copies);
      return;
    }
    held.dumped = true;
    if (copies > held.copies) findings.row("copies", truth, held, copies);
  });
  let excuse: Excuse | null = null;
  for (const held of blocks.missing()) {
    if (!exact) excuse ??= new Excuse(blocks, standing.historyFrom, lineageOf(truth));
    if (excuse?.covers(held) === true) findings.excusedCount += 1;
    else findings.row("missing", truth, held, 0);
  }
}

/** A3: what a consumer that began at H could not have learnt. */
class Excuse {
  readonly #blocks: HeldBlocks;
  readonly #historyFrom: number;
  readonly #lineage: ReadonlyMap<bigint, bigint | null>;

  constructor(blocks: HeldBlocks, historyFrom: number, lineage: ReadonlyMap<bigint, bigint | null>) {
    this.#blocks = blocks;
    this.#historyFrom = historyFrom;
    this.#lineage = lineage;
  }

  /** Walks from the block to its root; the first ancestor that was not announced since H excuses it. */
  covers(missing: Held): boolean {
    let block: Held | undefined = missing;
    for (;;) {
      // An ancestor that the engine no longer holds may have left before H as well as after: the doubt is the daemon's.
      if (block === undefined || block.announcedIn < this.#historyFrom) return true;
      const parent = this.#lineage.get(block.hash);
      if (parent === null || parent === undefined) return false;
      block = this.#onAnyTier(missing.adapter, parent);
    }
  }

  /** A parent is known to the rank whatever tier it lies on; its newest announcement counts. */
  #onAnyTier(adapter: string, hash: bigint): Held | undefined {
    let newest: Held | undefined;
    TIER_NAMES.forEach((_, tier) => {
      const block = this.#blocks.find(adapter, tier, hash);
      if (block !== undefined && block.announcedIn > (newest?.announcedIn ?? -1)) newest = block;
    });
    return newest;
  }
}

/** Counts everything, lists the first. */
class Findings {
  heldCount = 0;
  dumpedCount = 0;
  excusedCount = 0;
  #differenceCount = 0;
  readonly #differences: Difference[] = [];

  stream(kind: "unknown_stream" | "missing_stream", stream: { worker: string; dpRank: number }): void {
    const nothing = {
      adapter: "",
      tier: "",
      prefixHash: "",
      announcedIn: null,
      enginesCopies: 0,
      daemonsCopies: 0,
    };
    this.#add({ kind, worker: stream.worker, dpRank: stream.dpRank, ...nothing });
  }

  row(
    kind: DifferenceKind,
    stream: { worker: string; dpRank: number },
    row: Held,
    daemonsCopies: number,
  ): void {
    this.#add({
      kind,
      worker: stream.worker,
      dpRank: stream.dpRank,
      adapter: row.adapter,
      tier: TIER_NAMES[row.tier] ?? String(row.tier),
      prefixHash: row.hash.toString(16).padStart(16, "0"),
      announcedIn: Number.isNaN(row.announcedIn) ? null : row.announcedIn,
      enginesCopies: row.copies,
      daemonsCopies,
    });
  }

  summary(): Omit<AuditResult, "streamsByTrust"> {
    return {
      heldCount: this.heldCount,
      dumpedCount: this.dumpedCount,
      excusedCount: this.excusedCount,
      differenceCount: this.#differenceCount,
      differences: this.#differences,
    };
  }

  #add(difference: Difference): void {
    this.#differenceCount += 1;
    if (this.#differences.length < DIFFERENCES_LISTED_MAX) this.#differences.push(difference);
  }
}
