/** A figure on the command line of a benchmark: one that is none ends it, before anything is measured. */

/**
 * Reads a figure.
 *
 * @param name - for the message.
 * @param given - what stands on the command line.
 * @param least - smallest that can be used.
 * @returns the figure. Anything else is told on standard error, and the process ends with 2.
 */
export function benchFigure(name: string, given: string | number, least: number): number {
  const figure = given === "" ? Number.NaN : Number(given);
  if (figure >= least && figure < Number.POSITIVE_INFINITY) return figure;
  console.error(`${name}: ${given} is not usable; expected a number from ${least} on`);
  process.exit(2);
}
