/** The page about Kubernetes: its settings are ones that the daemon takes, and its tables are those of the code. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { POD_WAITING_REASONS } from "@kvsync/observability/kvsync/discovery";
import { afterAll, expect, test } from "vitest";

import { PRESETS as PRESET_FACTS } from "../src/discovery/kubernetes/presets.ts";
import { PRESETS } from "../src/settings/kubernetes-settings.ts";
import { readSettings } from "../src/settings/read-settings.ts";
import { PAGES, pageCommands } from "./operator-page.ts";

const text = readFileSync(join(PAGES, "kubernetes.md"), "utf8");
const folder = mkdtempSync(join(tmpdir(), "kvsync-kubernetes-page-"));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** Cells of the table that begins under a heading. */
function rowsUnder(heading: string): readonly (readonly string[])[] {
  const [, section = ""] = text.split(`${heading}\n`);
  return section
    .split("\n")
    .slice(section.split("\n").findIndex((line) => line.startsWith("| ---")) + 1)
    .filter((_, i, lines) => lines.slice(0, i + 1).every((one) => one.startsWith("|")))
    .map((line) => line.split("|").map((cell) => cell.trim()))
    .map((cells) => cells.slice(1, -1));
}

test("each block of settings is taken, and asks for Kubernetes", () => {
  const blocks = [...text.matchAll(/^```yaml settings\n([\s\S]*?)^```/gm)].map(([, block = ""]) => block);
  expect(blocks.length).toBeGreaterThan(1);
  for (const [i, block] of blocks.entries()) {
    const path = join(folder, `${i}.yaml`);
    writeFileSync(path, block);
    expect(readSettings(["--config", path], {}).settings.discovery.kubernetes.enabled).toBe(true);
  }
});

test("the table of presets has the selectors and ports of the code", () => {
  const rows = rowsUnder("## Presets");
  expect(rows.map(([name]) => name)).toEqual(PRESETS.map((name) => `\`${name}\``));
  for (const [i, name] of PRESETS.entries()) {
    const { enabledBy, events, replay } = PRESET_FACTS[name];
    const [, pods, , eventsPort, replayPort = ""] = rows[i] ?? [];
    expect([pods, eventsPort]).toEqual([`\`${enabledBy}\``, String(events.number)]);
    expect(replayPort).toContain(
      replay.number === null ? "5558; 5657" : replay.number === 0 ? "none" : String(replay.number),
    );
  }
});

test("the table of reasons has each reason once", () => {
  expect(rowsUnder("## Pods that wait").map(([reason]) => reason)).toEqual(
    POD_WAITING_REASONS.map((reason) => `\`${reason}\``),
  );
});

test("the page has no command that is silent about whether it is run", () => {
  expect(pageCommands("kubernetes.md").every(({ mode }) => mode !== null)).toBe(true);
});
