/**
 * Benchmarks refuse figures that they cannot use. Each is started as a reader would, with one figure wrong, and must name it and
 * end before it measures anything. The figures of a benchmark are read from its source, so that a new one is tried as well.
 *
 * Does not run a benchmark: the pages that have its figures do.
 */
import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { execPath } from "node:process";
import { describe, expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "../../..");
const WRONG = ["abc", "-1", "1e99"];
const START_MS_MAX = 120_000;
/** Benchmarks that run others or count with a program of the machine have words in front of these, or no figures. */
const FIGURE =
  /bench(?:Figures?|Share)\(\s*"([^"]+)",\s*(?:(?:process\.)?argv\[(\d)\] \?\? ("[^"]*"|[\w]+)|each|options\.(\w+))/g;
/** A number from the command line that nothing judges. */
const UNJUDGED = /Number\((?:process\.)?argv|argv\.slice\(2[^)]*\)\.map\(Number\)/;

interface Figure {
  readonly name: string;
  /** Position on the command line; null for an option. */
  readonly position: number | null;
}

interface Bench {
  readonly path: string;
  readonly text: string;
  readonly figures: readonly Figure[];
}

const BENCHES: readonly Bench[] = ["apps", "packages"].flatMap((group) =>
  readdirSync(join(ROOT, group)).flatMap((part) => benchesOf(`${group}/${part}/bench`)),
);

function benchesOf(folder: string): Bench[] {
  let names: string[] = [];
  try {
    names = readdirSync(join(ROOT, folder)).filter((name) => name.endsWith(".bench.ts"));
  } catch {
    // Most parts have no benchmarks.
  }
  return names.map((name) => {
    const path = `${folder}/${name}`;
    const text = readFileSync(join(ROOT, path), "utf8");
    const figures = [...text.matchAll(FIGURE)].map(([, figure = "", position]) => {
      return { name: figure, position: position === undefined ? null : Number(position) };
    });
    return { path, text, figures };
  });
}

/** The command line with one figure wrong: `.` in place of a folder, and else of defaults. */
function argumentsOf({ figures }: Bench, { name, position }: Figure, wrong: string): string[] {
  if (position === null) return [`${name}=${wrong}`];
  const before = Array.from({ length: position - 2 }, (_, i) =>
    figures.some((one) => one.position === i + 2) ? "8" : ".",
  );
  return [...before, wrong];
}

function start(
  path: string,
  given: readonly string[],
): Promise<{ code: unknown; said: string; printed: string }> {
  return new Promise((resolve) => {
    execFile(execPath, [join(ROOT, path), ...given], { timeout: START_MS_MAX }, (error, printed, said) => {
      resolve({ code: error?.code ?? 0, said, printed });
    });
  });
}

it("there are benchmarks with figures, and each has figures of its own names", () => {
  expect(BENCHES.filter(({ figures }) => figures.length > 0).length).toBeGreaterThan(20);
  for (const { figures } of BENCHES)
    expect(new Set(figures.map(({ name }) => name)).size).toBe(figures.length);
});

it("no benchmark takes a number from its command line without judging it", () => {
  expect(BENCHES.filter(({ text }) => UNJUDGED.test(text)).map(({ path }) => path)).toEqual([]);
});

// One benchmark at a time on each core: a start takes half a second of CPU.
describe.each(BENCHES.filter(({ figures }) => figures.length > 0))("$path", (bench) => {
  it.each(
    bench.figures.flatMap((figure, i) =>
      // The first figure gets all of them; the others take turns.
      (i === 0 ? WRONG : [WRONG[i % WRONG.length] ?? ""]).map((wrong) => ({
        figure,
        wrong,
        name: figure.name,
      })),
    ),
  )(
    "refuses $wrong as $name",
    async ({ figure, wrong }) => {
      const { code, said, printed } = await start(bench.path, argumentsOf(bench, figure, wrong));
      expect(said).toMatch(
        new RegExp(`^${figure.name}: ${wrong} is not usable; expected a (whole )?number from`),
      );
      expect(printed).toBe("");
      expect(code).toBe(2);
    },
    START_MS_MAX,
  );
});
