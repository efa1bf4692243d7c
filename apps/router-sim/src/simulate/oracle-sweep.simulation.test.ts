/**
 * How far the oracle is a bound: all policies through random small fleets and workloads. Memory is
 * from far too tight to ample, and load from idle to twice the intended one.
 *
 * Only a search over all assignments finds the one that hits most. So the oracle is a rule of thumb
 * with perfect knowledge, and may be beaten. This test limits by how much. The cases are hard on
 * purpose: a hundred requests are so few that one prompt more or less
 * is half a point.
 *
 * KVSYNC_ORACLE_CASES=1000 runs the sweep that the README describes, in some four minutes, and
 * lists the cases.
 */
import { Prng } from "@kvsync/core";
import { expect, it } from "vitest";

import { POLICY_NAMES } from "../policy/policies.ts";
import { SESSION_KINDS } from "../workload/session-kind.ts";
import { openWorkload, parseWorkloadSource } from "../workload/workload-source.ts";
import { simulate } from "./simulation.ts";
import { hitRate } from "./simulation-result.ts";

const CASES = Number(process.env["KVSYNC_ORACLE_CASES"] ?? 30);
const SEED = 20;
/** A tenth of a percentage point: a shared beginning computed on one engine more, a turn that comes before the one before ends. */
const HIT_RATE_NOISE = 0.001;
/** Of the cases, those in which some policy may hit more; of a thousand it was 23, … */
const BEATEN_SHARE_MAX = 0.05;
/** …by 3.3 points at most. */
const BEATEN_BY_MAX = 0.04;

interface SweepCase {
  readonly workload: string;
  readonly seed: number;
  readonly engineCount: number;
  readonly blockSize: number;
  readonly blockCount: number;
}

function drawCase(random: Prng): SweepCase {
  /** A factor from 1 to `most`, as likely to double from anywhere. */
  const factor = (most: number): number => most ** (random.nextU32() / 2 ** 32);
  const kind = random.pick([
    "chat",
    "agents",
    "documents",
    "shared-prompts",
    "hot-prefix",
    "conversation",
  ] as const);
  const requests = Math.round(100 * factor(8));
  const load = factor(8) / 2 ** 1.5;
  const rate =
    kind === "conversation"
      ? `minutes=${Math.max(0.1, requests / 200 / load).toFixed(1)}`
      : `rate=${(SESSION_KINDS[kind].rate * load).toFixed(2)},arrival-cv=${random.pick([1, 1, 3])}`;
  const blockSize = random.pick([128, 256, 512]);
  return {
    workload: `${kind},requests=${requests},${rate}${random.chance(0.1) ? ",lora=4" : ""}`,
    seed: random.below(1_000),
    engineCount: random.pick([2, 3, 4, 6, 8, 12, 16]),
    blockSize,
    blockCount: Math.floor((60_000 * factor(8)) / blockSize),
  };
}

/** By how much the best of the others hits more; ≤ 0 when none does. */
async function beatenBy({ workload: text, ...settings }: SweepCase): Promise<number> {
  const workload = await openWorkload(parseWorkloadSource(text), settings.seed);
  const hits = POLICY_NAMES.map((policy) => {
    const { result } = simulate(workload, { ...settings, policy });
    return { policy, rate: hitRate(result.totals) };
  });
  const oracle = hits.find(({ policy }) => policy === "oracle")?.rate ?? 0;
  return Math.max(...hits.filter(({ policy }) => policy !== "oracle").map(({ rate }) => rate - oracle));
}

it(`in ${CASES} random fleets the oracle is beaten by more than noise in at most one of twenty, and never by more than 4 points`, async () => {
  const random = new Prng(SEED);
  const beaten: (SweepCase & { points: string })[] = [];
  let most = 0;
  for (let i = 0; i < CASES; i++) {
    const drawn = drawCase(random);
    const by = await beatenBy(drawn);
    most = Math.max(most, by);
    if (by > HIT_RATE_NOISE) beaten.push({ ...drawn, points: (100 * by).toFixed(2) });
  }
  if (process.env["KVSYNC_ORACLE_CASES"] !== undefined) console.table(beaten);
  expect(beaten.length / CASES, JSON.stringify(beaten)).toBeLessThanOrEqual(BEATEN_SHARE_MAX);
  expect(most, JSON.stringify(beaten)).toBeLessThanOrEqual(BEATEN_BY_MAX);
}, 600_000);
