/**
 * Brings a Grafana to the generated dashboards: the folder first, then each dashboard by its uid.
 * An equal dashboard is left alone, so a second run changes nothing. One dashboard that fails does
 * not keep the others from being imported.
 *
 *   absent ──▶ created        different ──▶ updated (with what differs)        contained ──▶ unchanged
 */

import { describeDifference, differences } from "./difference.ts";
import { type GrafanaApi, GrafanaError, type NamedDashboard, type StoredDashboard } from "./grafana-api.ts";

/** Most differences of one dashboard that are listed. */
const LINES_MAX = 40;

/** What is to be imported. */
export interface ImportPlan {
  readonly folder: { readonly uid: string; readonly title: string };
  readonly dashboards: readonly NamedDashboard[];
  /** Only say what would be done. */
  readonly dryRun: boolean;
  /** Kept in each dashboard's history. */
  readonly message: string;
}

/** How an import went. */
export interface ImportResult {
  readonly created: number;
  readonly updated: number;
  readonly unchanged: number;
  readonly failed: number;
}

/**
 * Imports.
 *
 * @param api - the Grafana.
 * @param plan - what it shall have.
 * @param say - takes lines for people.
 * @returns how many dashboards ended how; with `dryRun`, would end.
 * @throws GrafanaError when the folder can be neither found nor made, or the token is refused: nothing else could succeed.
 */
export async function importDashboards(
  api: GrafanaApi,
  plan: ImportPlan,
  say: (line: string) => void,
): Promise<ImportResult> {
  const result = { created: 0, updated: 0, unchanged: 0, failed: 0 };
  const { folder, dryRun } = plan;
  await api.confirm();
  if ((await api.folderTitle(folder.uid)) === null) {
    say(`${dryRun ? "would create" : "create"} folder "${folder.title}" (${folder.uid})`);
    if (!dryRun) await api.createFolder(folder.uid, folder.title);
  }
  for (const dashboard of plan.dashboards) {
    try {
      result[await importOne(api, plan, dashboard, say)] += 1;
    } catch (error) {
      if (!(error instanceof GrafanaError) || error.facts.code === "unauthorized") throw error;
      result.failed += 1;
      say(`failed    ${dashboard.uid}: ${error.message}`);
    }
  }
  return result;
}

async function importOne(
  api: GrafanaApi,
  plan: ImportPlan,
  dashboard: NamedDashboard,
  say: (line: string) => void,
): Promise<"created" | "updated" | "unchanged"> {
  const { uid, title } = dashboard;
  const stored = await api.dashboard(uid);
  const lines = stored === null ? [] : changesTo(stored, dashboard, plan.folder.uid);
  const outcome = stored === null ? "created" : lines.length === 0 ? "unchanged" : "updated";
  if (outcome === "updated" && stored?.isProvisioned === true) throw provisioned(uid);
  if (!plan.dryRun && outcome !== "unchanged") await save(api, plan, dashboard, stored?.version ?? 0);
  say(
    `${(plan.dryRun && outcome !== "unchanged" ? `would be ${outcome}` : outcome).padEnd(9)} ${uid} "${title}"`,
  );
  for (const line of lines.slice(0, LINES_MAX)) say(`    ${line}`);
  if (lines.length > LINES_MAX) say(`    and ${lines.length - LINES_MAX} more`);
  return outcome;
}

/** A save whose answer was lost and that was tried again meets its own version: it is done if what is there is ours. */
async function save(
  api: GrafanaApi,
  { folder, message }: ImportPlan,
  dashboard: NamedDashboard,
  replaces: number,
): Promise<void> {
  try {
    await api.saveDashboard({ dashboard, replaces, folderUid: folder.uid, message });
  } catch (error) {
    const conflict = error instanceof GrafanaError && error.facts.code === "conflict";
    const now = conflict ? await api.dashboard(dashboard.uid) : null;
    if (now === null || changesTo(now, dashboard, folder.uid).length > 0) throw error;
  }
}

/** Grafana would only refuse to save it; a dry run has to say so too. */
function provisioned(uid: string): GrafanaError {
  const request = `GET /api/dashboards/uid/${uid}`;
  return new GrafanaError(
    { code: "conflict", request, status: 200, detail: "provisioned" },
    "Grafana reads this dashboard from a file and will not save it: change the file, or take it out of the provisioning folder",
  );
}

function changesTo(stored: StoredDashboard, dashboard: NamedDashboard, folderUid: string): string[] {
  const moved = stored.folderUid === folderUid ? [] : [`folder: "${stored.folderUid}" → "${folderUid}"`];
  return [...moved, ...differences(dashboard, stored.dashboard).map(describeDifference)];
}
