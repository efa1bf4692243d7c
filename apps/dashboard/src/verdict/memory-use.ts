/** How much of a limit of memory is in use, as a tone: the same for figures, gauges and the verdict. Pure. */

/** Nothing is wrong below; a warning above. */
const WARNING_SHARE = 0.8;
const BAD_SHARE = 0.9;

/** The tone of memory in use; empty where all is well. */
export function toneOfUse(used: number, limit: number): "" | "stale" | "bad" {
  const share = limit === 0 ? 0 : used / limit;
  if (share > BAD_SHARE) return "bad";
  return share > WARNING_SHARE ? "stale" : "";
}
