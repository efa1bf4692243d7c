/**
 * The two texts of a scrape, and which of them a scraper asks for.
 *
 *     Accept: application/openmetrics-text ─▶ OpenMetrics 1.0, with exemplars
 *     anything else, or nothing            ─▶ Prometheus text format 0.0.4
 *
 * Values and names of series are the same in both.
 *
 * Follows RFC 9110, section 12.5.1, as far as Prometheus's own header needs it, and OpenMetrics 1.0.
 */

/** How a scrape is written. */
export type ScrapeFormat = "text" | "openmetrics";

/** The `content-type` of each. */
export const SCRAPE_CONTENT_TYPES: Readonly<Record<ScrapeFormat, string>> = {
  text: "text/plain; version=0.0.4; charset=utf-8",
  openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8",
};

/** Versions of OpenMetrics whose readers read ours; absent: any. */
const VERSIONS: ReadonlySet<string> = new Set(["", "0.0.1", "1.0.0"]);

/** A longer header is that of no scraper. */
const ACCEPT_CHARACTERS_MAX = 1024;

/** How much a media range is wanted: its `q`, 1 without one, 0 when it cannot be read. */
function weightOf(parameters: readonly string[]): number {
  const text = parameters.find((parameter) => parameter.startsWith("q="))?.slice(2) ?? "1";
  return /^(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/.test(text) ? Number(text) : 0;
}

/**
 * The format that a scraper asks for.
 *
 * @param accept - the request's header; absent means anything.
 * @returns OpenMetrics where it is named, and wanted no less than plain text is.
 */
export function scrapeFormat(accept: string | undefined): ScrapeFormat {
  if (accept === undefined || accept.length > ACCEPT_CHARACTERS_MAX) return "text";
  let open = 0;
  let text = 0;
  for (const range of accept.toLowerCase().split(",")) {
    const [type, ...parameters] = range.split(";").map((part) => part.trim());
    const version = parameters.find((parameter) => parameter.startsWith("version="))?.slice(8) ?? "";
    if (type === "text/plain") text = Math.max(text, weightOf(parameters));
    if (type === "application/openmetrics-text" && VERSIONS.has(version))
      open = Math.max(open, weightOf(parameters));
  }
  return open > 0 && open >= text ? "openmetrics" : "text";
}
