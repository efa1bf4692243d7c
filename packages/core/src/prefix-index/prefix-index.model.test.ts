/**
 * The index against its specification. Random commands over a small world (prefix-world.ts) are run
 * on `PrefixIndex` and on `NaivePrefixIndex`. Every answer is compared when it is given. After each
 * batch of commands, everything that both hold is compared (the dump, copies included), with the
 * block count of each rank. The index's own invariants are checked with `check()`.
 *
 * The world is small so that situations collide. Two letters make most prompts, so that stores
 * repeat, fork and overtake each other. Paths start anywhere, so that about half of the parents are
 * missing. Ranks have tiers, clear themselves and are used again. Each situation below tests one
 * promise: agreeing engines, aliases, liars, tiers, contexts, many ranks, and names that engines
 * choose against the tables. The library fast-check makes the commands and, on a difference,
 * shortens the list to the necessary ones. It prints that list, the seed and the path.
 * KVSYNC_MODEL_SEED repeats a run; KVSYNC_MODEL_LONG=1 runs twenty times as much.
 * Numbers in claims: S of contract.ts, N of naive-prefix-index.ts, Q of parts-reader.ts, E of rank-rows.ts,
 * H of rank-homes.ts.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { KeyedReferenceHash } from "../block-hash/testing/keyed-reference-hash.ts";
import { ReferenceHash } from "../block-hash/testing/reference-hash.ts";
import { DEFAULT_HASH_SEED, type ContextKey, type GroupShape, type RepeatRule } from "./contract.ts";
import { assert } from "../assert.ts";
import { commandsOf, TWO_LETTERS, type Situation } from "./testing/command-arbitrary.ts";
import { KeyChooser } from "./testing/chosen-keys.ts";
import { IndexPair, UNLIMITED_PARK } from "./testing/index-pair.ts";
import type { TableSecret } from "./index-options.ts";
import { PartsPair } from "./testing/parts-index.ts";
import { PrefixWorld, type IndexCommand } from "./testing/prefix-world.ts";

const SEED = Number(process.env["KVSYNC_MODEL_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const IS_LONG = process.env["KVSYNC_MODEL_LONG"] === "1";
const RUNS = IS_LONG ? 2_000 : 100;
/** Commands between two comparisons of everything. */
const BATCH = 20;
/** Commands after which a run goes on from a copy, and how many fewer such runs there are: a copy takes milliseconds. */
const COPY_EVERY = 60;
const COPY_SHARE = 20;
/** Commands between two moves of a rank, and how many fewer such runs there are: each makes several memories. */
const MOVE_EVERY = 7;
const PARTS_SHARE = 5;
const COMMANDS_MIN = IS_LONG ? 2_000_000 : 100_000;

/** A table secret that attackers know, and what they know without it. */
const KNOWN: TableSecret = [1, 2, 3, 4];
const INFORMED = new KeyChooser(KNOWN);
const BLIND = new KeyChooser(null);

const PLAIN: ContextKey = { model: "m", loraName: null, blockSize: 4, lookahead: 0 };
const SITUATIONS: readonly (Situation & {
  readonly claim: string;
  readonly namesTellContexts?: boolean;
  readonly groups?: readonly GroupShape[];
  /** What engines say in place of an honest name. */
  readonly choose?: (name: bigint) => bigint;
  readonly secret?: TableSecret;
})[] = [
  {
    claim: "engines that agree on names share prefixes",
    contexts: [PLAIN],
    slots: [0, 1, 2, 3],
    engineSeedCount: 1,
    tierCount: 1,
    liePercent: 0,
    reseedPercent: 5,
    letters: TWO_LETTERS,
    lengthMax: 8,
  },
  {
    claim: "engines with seeds of their own name one prefix differently, and change seeds",
    contexts: [PLAIN],
    slots: [0, 1, 63, 64, 65],
    engineSeedCount: 3,
    tierCount: 2,
    liePercent: 0,
    reseedPercent: 5,
    letters: TWO_LETTERS,
    lengthMax: 6,
  },
  {
    claim: "a lying engine damages its own entries only",
    contexts: [PLAIN],
    slots: [0, 7, 4095],
    engineSeedCount: 1,
    tierCount: 2,
    liePercent: 25,
    reseedPercent: 5,
    letters: TWO_LETTERS,
    lengthMax: 6,
  },
  {
    claim: "copies on four tiers are counted apart",
    contexts: [PLAIN],
    slots: [5, 6],
    engineSeedCount: 1,
    tierCount: 4,
    liePercent: 3,
    reseedPercent: 5,
    letters: TWO_LETTERS,
    lengthMax: 4,
  },
  {
    claim: "models, adapters, block sizes, lookaheads and extra digests keep prefixes apart",
    contexts: [
      { model: "m", loraName: null, blockSize: 1, lookahead: 0 },
      { model: "m", loraName: "", blockSize: 1, lookahead: 0 },
      { model: "m", loraName: null, blockSize: 17, lookahead: 0 },
      { model: "m", loraName: null, blockSize: 16, lookahead: 1 },
      { model: "m", loraName: null, blockSize: 16, lookahead: 3 },
      { model: "", loraName: "adapter é", blockSize: 16, lookahead: 0 },
    ],
    slots: [0, 1, 2],
    engineSeedCount: 2,
    tierCount: 2,
    liePercent: 2,
    reseedPercent: 5,
    letters: fc.oneof(
      { weight: 3, arbitrary: fc.constant(0) },
      { weight: 1, arbitrary: fc.integer({ min: 0, max: 15 }) },
    ),
    lengthMax: 5,
  },
  {
    claim: "a name that engines use in several contexts means the one last stored to",
    contexts: ["a", "b", "c"].map((loraName) => ({ ...PLAIN, loraName })),
    namesTellContexts: false,
    slots: [0, 1],
    engineSeedCount: 2,
    tierCount: 2,
    liePercent: 3,
    reseedPercent: 5,
    letters: TWO_LETTERS,
    lengthMax: 4,
  },
  {
    claim: "two hundred ranks hold parts of the same few prompts",
    contexts: [PLAIN],
    slots: Array.from({ length: 200 }, (_, i) => i * 20),
    engineSeedCount: 2,
    tierCount: 2,
    liePercent: 2,
    reseedPercent: 5,
    letters: TWO_LETTERS,
    lengthMax: 4,
  },
  {
    claim: "hybrid models: full attention with a window and Mamba states",
    contexts: [PLAIN],
    groups: [
      { index: 1, rule: "window", kind: "sliding_window", windowTokens: 9, blockSize: 4 },
      { index: 2, rule: "last", kind: "mamba", windowTokens: 0, blockSize: 4 },
    ],
    slots: [0, 1, 70],
    engineSeedCount: 2,
    tierCount: 2,
    liePercent: 2,
    reseedPercent: 5,
    letters: fc.oneof({ weight: 12, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.constant(1) }),
    lengthMax: 12,
  },
  {
    claim: "groups of every rule, with blocks of two sizes and lookahead (S8, N7)",
    contexts: [
      { ...PLAIN, lookahead: 1 },
      { ...PLAIN, loraName: "a" },
    ],
    groups: [
      { index: 1, rule: "chunk", kind: "chunked_local_attention", windowTokens: 16, blockSize: 4 },
      { index: 2, rule: "window", kind: "sliding_window", windowTokens: 17, blockSize: 8 },
      { index: 3, rule: "run", kind: "unknown", windowTokens: 0, blockSize: 4 },
      { index: 4, rule: "window", kind: "sliding_window", windowTokens: 1, blockSize: 4 },
    ],
    slots: [0, 1],
    engineSeedCount: 1,
    tierCount: 3,
    liePercent: 1,
    reseedPercent: 5,
    letters: fc.oneof({ weight: 12, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.constant(1) }),
    lengthMax: 16,
  },
  {
    claim: "long runs fork and leave holes",
    contexts: [PLAIN],
    slots: [0, 1, 2],
    engineSeedCount: 2,
    tierCount: 2,
    liePercent: 1,
    reseedPercent: 5,
    letters: fc.oneof({ weight: 30, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.constant(1) }),
    lengthMax: 60,
  },
  {
    claim: "engine hashes chosen for one bucket by engines that know the secret",
    contexts: [PLAIN, { ...PLAIN, loraName: "a" }],
    choose: (name) => INFORMED.inBucket(name, 0x89ab_cdefn),
    secret: KNOWN,
    slots: [0, 1, 63, 64, 65],
    engineSeedCount: 2,
    tierCount: 2,
    liePercent: 2,
    reseedPercent: 5,
    letters: TWO_LETTERS,
    lengthMax: 10,
  },
  {
    claim: "engine hashes chosen for one place of each rank's own names by engines that know the secret",
    contexts: ["a", "b", "c"].map((loraName) => ({ ...PLAIN, loraName })),
    namesTellContexts: false,
    choose: (name) => INFORMED.atPlace(name),
    secret: KNOWN,
    slots: [0, 1, 2, 3],
    engineSeedCount: 4,
    tierCount: 2,
    liePercent: 2,
    reseedPercent: 10,
    letters: TWO_LETTERS,
    lengthMax: 8,
  },
  {
    claim: "engine hashes chosen against a mix without a secret",
    contexts: [PLAIN, { ...PLAIN, loraName: "a" }],
    choose: (name) => BLIND.inBucket(name, 0x1234_5678n),
    slots: [0, 1, 2, 3],
    engineSeedCount: 2,
    tierCount: 2,
    liePercent: 2,
    reseedPercent: 5,
    letters: TWO_LETTERS,
    lengthMax: 10,
  },
];

function worldOf(situation: (typeof SITUATIONS)[number], hash: ReferenceHash): PrefixWorld {
  const { contexts, namesTellContexts, groups, choose } = situation;
  return new PrefixWorld(contexts, hash, namesTellContexts, groups, choose ?? null);
}

/** With room for the contexts of the world and no other: just so many that none is ever evicted, empty ones included. */
function pairOf(situation: (typeof SITUATIONS)[number], world: PrefixWorld, hash: ReferenceHash): IndexPair {
  const contextCountMax = situation.contexts.length;
  return new IndexPair(world, hash, { ...UNLIMITED_PARK, contextCountMax, secret: situation.secret });
}

describe(`PrefixIndex answers as its specification does (KVSYNC_MODEL_SEED=${SEED})`, async () => {
  const hashes = [
    await ReferenceHash.create(DEFAULT_HASH_SEED),
    await KeyedReferenceHash.create(DEFAULT_HASH_SEED),
  ];
  const [hash] = hashes;
  let commandCount = 0;
  /** "command outcome" → how often; the outcome of a count or a match is whether it is nothing. */
  const happened = new Map<string, number>();
  const note = (command: IndexCommand, answer: string): void => {
    // Notes of a store or removal follow its outcome.
    const said = /^(store|remove)/.test(command.kind) ? answer.split(" ")[0] : answer;
    const outcome = /^(0|\d+: )$/.test(said) ? "nothing" : /^\d/.test(said) ? "something" : said;
    const kind = `${command.kind} ${outcome}`.trim();
    happened.set(kind, (happened.get(kind) ?? 0) + 1);
  };

  test.each(SITUATIONS)("$claim", { timeout: IS_LONG ? 3_600_000 : 300_000 }, (situation) => {
    const worlds = hashes.map((each) => worldOf(situation, each));
    const property = fc.property(
      commandsOf({ ...situation, groupCount: situation.groups?.length ?? 0 }),
      fc.nat(1),
      (commands, kind) => {
        const pair = pairOf(situation, worlds[kind], hashes[kind]);
        commands.forEach((command, i) => {
          note(command, pair.run(command));
          if (i % BATCH === BATCH - 1) pair.compareAll();
        });
        pair.compareAll();
        commandCount += commands.length;
      },
    );
    fc.assert(property, { seed: SEED, numRuns: RUNS });
  });

  test.each(SITUATIONS)(
    "$claim, also when it goes on from a copy",
    { timeout: IS_LONG ? 3_600_000 : 300_000 },
    (situation) => {
      const worlds = hashes.map((each) => worldOf(situation, each));
      const property = fc.property(
        commandsOf({ ...situation, groupCount: situation.groups?.length ?? 0 }),
        fc.nat(1),
        (commands, kind) => {
          const pair = pairOf(situation, worlds[kind], hashes[kind]);
          commands.forEach((command, i) => {
            pair.run(command);
            if (i % COPY_EVERY !== COPY_EVERY - 1) return;
            pair.moveToCopy();
            pair.compareAll();
          });
          pair.compareAll();
        },
      );
      fc.assert(property, { seed: SEED, numRuns: RUNS / COPY_SHARE });
    },
  );

  test.each(SITUATIONS.flatMap((situation) => [2, 3].map((parts) => ({ ...situation, parts }))))(
    "$claim, also in $parts memories between which ranks move (Q1, E1, H1)",
    { timeout: IS_LONG ? 3_600_000 : 300_000 },
    ({ parts, ...situation }) => {
      const worlds = hashes.map((each) => worldOf(situation, each));
      const contextCountMax = situation.contexts.length;
      const options = {
        ...UNLIMITED_PARK,
        contextCountMax,
        secret: situation.secret,
        memoryBytesMax: 2 ** 26,
      };
      const property = fc.property(
        commandsOf({ ...situation, groupCount: situation.groups?.length ?? 0 }),
        fc.nat(1),
        (commands, kind) => {
          const pair = new PartsPair(worlds[kind], hashes[kind], parts, options);
          commands.forEach((command, i) => {
            pair.run(command);
            if (i % MOVE_EVERY === 0 && "slot" in command)
              pair.index.move(command.slot, (i / MOVE_EVERY) % parts);
            if (i % BATCH === BATCH - 1) pair.compareAll();
          });
          pair.compareAll();
        },
      );
      fc.assert(property, { seed: SEED, numRuns: RUNS / PARTS_SHARE });
    },
  );

  test("a store that waits keeps its place in the park when its parent's block is left out of a later store", () => {
    const situation = SITUATIONS.find(({ claim }) => claim === "long runs fork and leave holes");
    assert(situation !== undefined, "the situation has this claim");
    const pair = pairOf(situation, worldOf(situation, hash), hash);
    const at = { context: 0, slot: 2, tier: 0, lies: [], engineSeed: 0 } as const;
    const store = (
      letters: number[],
      from: number,
      parentLie: number | null,
      repeats: RepeatRule,
    ): IndexCommand => ({
      kind: "store",
      path: { letters, next: 0 },
      from,
      parentLie,
      repeats,
      ...at,
    });
    const commands: IndexCommand[] = [
      store([0, 0, 0], 2, null, "count"),
      store([0, 0, 0], 1, 0, "count"),
      store([0, 0], 0, null, "skip_each"),
      { kind: "remove", path: { letters: [0, 0, 0], next: 0 }, from: 0, ...at },
      store([0, 0], 0, null, "count"),
    ];
    for (const command of commands) {
      pair.run(command);
      pair.compareAll();
    }
  });

  test("and was asked often enough, in every kind of situation", () => {
    const lines = [...happened].map(([kind, count]) => `${kind}: ${count}`);
    console.log(lines.sort().join(", "));
    expect(commandCount).toBeGreaterThan(COMMANDS_MIN);
    const kinds = ["store stored", "store repeated", "store parked", "clear"];
    for (const kind of ["remove", "storeKnown", "matchTokens", "matchHashes"])
      kinds.push(`${kind} nothing`, `${kind} something`);
    for (const kind of kinds) expect([kind, (happened.get(kind) ?? 0) > 500]).toEqual([kind, true]);
  });
});
