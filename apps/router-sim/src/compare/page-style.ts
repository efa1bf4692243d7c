/**
 * The comparison page's style sheet: light and dark by the reader's setting, one column on a phone.
 * A policy's color is one custom property of its class, so that lines, marks and legend agree. Hues
 * differ in lightness too, and dashes separate families where colors do not. Contrast against the
 * page is at least 3 : 1 in both modes.
 */

/** How a policy is drawn. */
interface PolicyStyle {
  readonly light: string;
  readonly dark: string;
  /** SVG stroke-dasharray; "" for a full line. */
  readonly dash: string;
}

/** Blind ones grey, load-aware ones warm, those that follow sessions or history violet, those that use the index cool. */
const POLICY_STYLES: Readonly<Record<string, PolicyStyle>> = {
  kvsync: { light: "#0b57d0", dark: "#7db4ff", dash: "" },
  oracle: { light: "#1f2328", dark: "#e6edf3", dash: "2 4" },
  random: { light: "#7d858e", dark: "#8b949e", dash: "" },
  "round-robin": { light: "#7d858e", dark: "#8b949e", dash: "6 4" },
  "least-loaded": { light: "#b35900", dark: "#f0883e", dash: "" },
  "power-of-two": { light: "#b35900", dark: "#f0883e", dash: "6 4" },
  "session-sticky": { light: "#8250df", dark: "#c297ff", dash: "" },
  approximate: { light: "#8250df", dark: "#c297ff", dash: "6 4" },
  "prefix-threshold": { light: "#c1232b", dark: "#ff7b72", dash: "" },
  "overlap-cost": { light: "#116d33", dark: "#56d364", dash: "" },
  "tier-score": { light: "#0a7a83", dark: "#39c5cf", dash: "6 4" },
};

/** Drawn in charts of lines when the page opens; the others by their check box. */
const SHOWN_AT_FIRST: ReadonlySet<string> = new Set([
  "kvsync",
  "oracle",
  "random",
  "least-loaded",
  "session-sticky",
  "prefix-threshold",
  "overlap-cost",
]);

const FALLBACK: PolicyStyle = { light: "#6639ba", dark: "#d2a8ff", dash: "1 3" };

/**
 * Says whether a policy's lines are drawn when the page opens.
 *
 * @param policy - its name.
 * @param policyCount - policies in all: few are all drawn.
 * @returns whether.
 */
export function shownAtFirst(policy: string, policyCount: number): boolean {
  return policyCount <= SHOWN_AT_FIRST.size || SHOWN_AT_FIRST.has(policy);
}

/**
 * Writes the style sheet.
 *
 * @param policies - those that appear.
 * @returns CSS.
 */
export function pageStyle(policies: readonly string[]): string {
  const styleOf = (policy: string): PolicyStyle => POLICY_STYLES[policy] ?? FALLBACK;
  const colours = (mode: "light" | "dark"): string =>
    policies.map((policy) => `.p-${policy}{--c:${styleOf(policy)[mode]}}`).join("");
  const dashes = policies
    .filter((policy) => styleOf(policy).dash !== "")
    .map((policy) => `.line.p-${policy} path,.key.p-${policy} line{stroke-dasharray:${styleOf(policy).dash}}`)
    .join("");
  const switches = policies
    .map((policy) => `body:has(#show-${policy}:not(:checked)) .line.p-${policy}{display:none}`)
    .join("");
  return `${BASE}${colours("light")}${dashes}${switches}
@media (prefers-color-scheme:dark){:root{${DARK}}${colours("dark")}}`;
}

const DARK =
  "color-scheme:dark;--page:#0d1117;--ink:#e6edf3;--soft:#9da7b3;--rule:#30363d;--panel:#161b22;--won:#56d364;--lost:#ff7b72";

const BASE = `
:root{color-scheme:light;--page:#fff;--ink:#1f2328;--soft:#59636e;--rule:#d5dae0;--panel:#f6f8fa;--won:#116d33;--lost:#c1232b}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1240px;padding:16px 20px 64px;background:var(--page);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;-webkit-text-size-adjust:100%}
h1{font-size:1.7rem;line-height:1.2;margin:.6em 0 .3em}
h2{font-size:1.3rem;margin:2.4em 0 .2em;padding-top:.8em;border-top:1px solid var(--rule)}
h3{font-size:1rem;margin:0 0 .4em}
p{margin:.4em 0;max-width:78ch}
.soft,figcaption{color:var(--soft)}
.provenance{font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,monospace;color:var(--soft);overflow-wrap:anywhere;max-width:none}
code{font:.88em ui-monospace,SFMono-Regular,Menlo,monospace;overflow-wrap:anywhere}
a{color:inherit}
.charts{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:28px 36px;margin:16px 0}
figure{margin:0;min-width:0}
figcaption{font-size:.85rem;line-height:1.4}
svg{display:block;width:100%;height:auto;overflow:visible}
svg text{fill:var(--soft);font:12.5px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;font-variant-numeric:tabular-nums}
svg text.row{fill:var(--ink)}
.grid{stroke:var(--rule);stroke-width:1}
.base{stroke:var(--soft);stroke-width:1}
.line path{fill:none;stroke:var(--c);stroke-width:1.7;stroke-linejoin:round}
.line circle,.mark circle{fill:var(--c)}
.mark path{fill:none;stroke:var(--c);stroke-width:1.6}
.line.p-kvsync path{stroke-width:2.8}
.legend{position:sticky;top:0;z-index:1;display:flex;flex-wrap:wrap;gap:2px 16px;margin:16px 0;padding:8px 12px;
border:1px solid var(--rule);border-radius:6px;background:var(--panel);font-size:.85rem}
.legend label{display:inline-flex;align-items:center;gap:6px;cursor:pointer;white-space:nowrap}
.key{width:26px;height:10px;flex:none}
.key line{stroke:var(--c);stroke-width:2.6}
.scroll{overflow-x:auto;margin:12px 0}
table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--soft);padding-bottom:6px}
th,td{padding:4px 10px;border-bottom:1px solid var(--rule);text-align:right;white-space:nowrap;vertical-align:top}
th{font-weight:600;white-space:normal;vertical-align:bottom}
.verdicts td:first-child{white-space:normal;min-width:11em}
.verdicts th,.verdicts td{padding:4px 7px}
th:first-child,td:first-child{text-align:left;position:sticky;left:0;background:var(--page)}
td small{color:var(--soft);display:block;font-size:.78rem}
tr.ours th,tr.ours td{background:var(--panel)}
.won{color:var(--won);font-weight:600}
.lost{color:var(--lost);font-weight:600}
.tie{color:var(--soft)}
details{margin:12px 0}
summary{cursor:pointer;font-weight:600}
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 16px;font-size:.9rem}
dt{font-weight:600}
dd{margin:0;color:var(--soft)}
@media (max-width:720px){
body{padding:12px 14px 48px}
.charts{grid-template-columns:minmax(0,1fr)}
svg text{font-size:19px}
.legend{position:static}
dl{grid-template-columns:1fr}
}
@media print{.legend{display:none}details{display:block}}
`;
