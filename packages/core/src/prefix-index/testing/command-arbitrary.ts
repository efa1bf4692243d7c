/**
 * Random commands over a small world of prompts (prefix-world.ts), as fast-check's arbitraries. So
 * a list that shows a difference can be shortened to the necessary commands. Tests only: not part
 * of the package's surface.
 */
import fc from "fast-check";
import type { ContextKey, RepeatRule } from "../contract.ts";
import { type GroupRemoveCommand, LIES, type IndexCommand, type Path } from "./prefix-world.ts";

/** Commands of a list at most, unless a test says otherwise. */
const COMMANDS_MAX = 400;

/** Which part of the possible a test looks at. */
export interface Situation {
  readonly contexts: readonly ContextKey[];
  readonly slots: readonly number[];
  /** How many hash seeds the engines have between them: with 1 they all agree. */
  readonly engineSeedCount: number;
  readonly tierCount: number;
  /** Of 100 naming commands, how many lie. */
  readonly liePercent: number;
  /** Of 100 commands, how many use another engine's seed than the rank's own. */
  readonly reseedPercent: number;
  readonly letters: fc.Arbitrary<number>;
  readonly lengthMax: number;
  /** How many KV-cache groups the ranks may have beside their main one. */
  readonly groupCount?: number;
}

/** Prompts of mostly one letter: they share, fork and repeat. */
export const TWO_LETTERS: fc.Arbitrary<number> = fc.oneof(
  { weight: 3, arbitrary: fc.constant(0) },
  { weight: 1, arbitrary: fc.constant(1) },
);

/** A path, and the position its command starts at: a root half of the time. */
function pathAndStart({ letters, lengthMax }: Situation): fc.Arbitrary<{ path: Path; from: number }> {
  return fc
    .record({
      letters: fc.array(letters, { minLength: 1, maxLength: lengthMax, size: "max" }),
      next: fc.nat(3),
      start: fc.oneof(fc.constant(0), fc.nat(lengthMax - 1)),
    })
    .map(({ letters, next, start }) => ({ path: { letters, next }, from: start % letters.length }));
}

type Where = Omit<GroupRemoveCommand, "kind" | "group">;

/** Commands about KV-cache groups; none for a situation without. */
function groupCommands(
  { groupCount = 0 }: Situation,
  where: fc.Arbitrary<Where>,
  parentLie: fc.Arbitrary<number | null>,
  main: fc.Arbitrary<{ context: number; slot: number }>,
): { weight: number; arbitrary: fc.Arbitrary<IndexCommand> }[] {
  if (groupCount === 0) return [];
  const group = fc.nat(groupCount - 1);
  const store = fc.tuple(where, parentLie, group, fc.boolean());
  return [
    {
      weight: 40,
      arbitrary: store.map(([at, lie, ofGroup, hasTokens]) => {
        return { kind: "storeGroup", ...at, parentLie: lie, group: ofGroup, hasTokens };
      }),
    },
    {
      weight: 10,
      arbitrary: fc
        .tuple(where, group)
        .map(([at, ofGroup]) => ({ kind: "removeGroup", ...at, group: ofGroup })),
    },
    { weight: 4, arbitrary: main.map((at) => ({ kind: "mainGroup", ...at })) },
  ];
}

/** Lists of 1 to `countMax` commands. */
export function commandsOf(
  situation: Situation,
  countMax: number = COMMANDS_MAX,
): fc.Arbitrary<IndexCommand[]> {
  const { contexts, slots, engineSeedCount, tierCount, liePercent, reseedPercent, lengthMax } = situation;
  const context = fc.nat(contexts.length - 1);
  const slot = fc.constantFrom(...slots);
  const tier = fc.constantFrom(...([0, 1, 2, 3] as const).slice(0, tierCount));
  const lie = fc.nat(LIES.length - 1);
  const rarely = <T, U>(usual: T, odd: fc.Arbitrary<U>): fc.Arbitrary<T | U> =>
    fc.oneof(
      { weight: 100 - liePercent, arbitrary: fc.constant(usual) },
      { weight: liePercent, arbitrary: odd },
    );
  const lies = rarely(
    [],
    fc.array(fc.record({ at: fc.nat(lengthMax - 1), lie }), { minLength: 1, maxLength: 2 }),
  );
  const where = fc
    .tuple(pathAndStart(situation), fc.record({ context, slot, tier, lies }), fc.nat(99))
    .map(([place, naming, dice]) => {
      const reseeded = dice < reseedPercent ? dice : 0;
      const engineSeed = (naming.slot + reseeded) % engineSeedCount;
      return { ...place, ...naming, engineSeed };
    });
  const repeats = fc.constantFrom<RepeatRule>("count", "count", "skip_all", "skip_each");
  const store = fc.tuple(where, rarely(null, lie), repeats).map(([at, parentLie, rule]): IndexCommand => {
    return { kind: "store", ...at, parentLie: at.from === 0 ? null : parentLie, repeats: rule };
  });
  const remove = where.map((at): IndexCommand => ({ kind: "remove", ...at }));
  const storeKnown = where.map((at): IndexCommand => ({ kind: "storeKnown", ...at }));
  const path = pathAndStart(situation).map((place) => place.path);
  const swap = fc.record({ at: fc.nat(lengthMax - 1), hash: fc.constantFrom(...LIES) });
  return fc.array(
    fc.oneof(
      ...groupCommands(situation, where, rarely(null, lie), fc.record({ context, slot })),
      { weight: 40, arbitrary: store },
      { weight: 24, arbitrary: remove },
      { weight: 6, arbitrary: storeKnown },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant("clear" as const), slot }) },
      {
        weight: 16,
        arbitrary: fc.record({ kind: fc.constant("matchTokens" as const), context, path, tail: fc.nat(3) }),
      },
      {
        weight: 10,
        arbitrary: fc.record({
          kind: fc.constant("matchHashes" as const),
          context,
          path,
          swaps: fc.oneof(fc.constant([]), fc.array(swap, { maxLength: 2 })),
        }),
      },
    ),
    { minLength: 1, maxLength: countMax, size: "max" },
  );
}
