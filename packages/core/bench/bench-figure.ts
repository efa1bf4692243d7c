/**
 * Figures on the command line of a benchmark. One that cannot be used ends the benchmark before
 * anything is measured, with a line on standard error and code 2. apps/sync-daemon/test/benches.e2e.test.ts tries every
 * benchmark.
 */

/**
 * Reads a whole number.
 *
 * @param name - for the message.
 * @param given - what stands on the command line, or its default.
 * @param least - smallest that can be used.
 * @param most - largest that can be used.
 * @returns the number.
 */
export function benchFigure(name: string, given: string | number, least: number, most: number): number {
  const figure = numberOf(given);
  return Number.isInteger(figure) && figure >= least && figure <= most
    ? figure
    : refuse(name, given, `a whole number from ${least} to ${most}`);
}

/** The same for a number that need not be whole. */
export function benchShare(name: string, given: string | number, least: number, most: number): number {
  const figure = numberOf(given);
  return figure >= least && figure <= most
    ? figure
    : refuse(name, given, `a number from ${least} to ${most}`);
}

/** The same for whole numbers with commas between them. */
export function benchFigures(name: string, given: string, least: number, most: number): number[] {
  return given.split(",").map((each) => benchFigure(name, each, least, most));
}

function numberOf(given: string | number): number {
  return given === "" ? Number.NaN : Number(given);
}

function refuse(name: string, given: string | number, expected: string): never {
  console.error(`${name}: ${given} is not usable; expected ${expected}`);
  process.exit(2);
}
