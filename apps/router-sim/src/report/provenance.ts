/** Where figures come from: the first line of every output. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { promisify } from "node:util";

/** What one needs to repeat a run, beside its command line. */
export interface Provenance {
  readonly seed: number;
  /** Abbreviated commit, with `+changes` when the tree differs from it; `unknown` outside a repository. */
  readonly commit: string;
  readonly node: string;
  readonly machine: string;
}

/**
 * Finds out.
 *
 * @param seed - the run's.
 * @returns the provenance; never throws.
 */
export async function provenanceOf(seed: number): Promise<Provenance> {
  const processors = cpus();
  const memoryGib = (totalmem() / 2 ** 30).toFixed(0);
  return {
    seed,
    commit: await commitOf(),
    node: process.version,
    machine: `${processors.length} × ${processors[0]?.model.trim() ?? "unknown processor"}, ${memoryGib} GiB`,
  };
}

/** @returns one line. */
export function describeProvenance({ seed, commit, node, machine }: Provenance): string {
  return `seed ${seed} · commit ${commit} · Node ${node} · ${machine}`;
}

/** The answer to `--version`: one line. */
export function versionLine(): string {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return `router-sim ${(JSON.parse(text) as { readonly version: string }).version}, Node ${process.version}`;
}

async function commitOf(): Promise<string> {
  const run = promisify(execFile);
  const git = async (...args: string[]): Promise<string> =>
    (await run("git", args, { cwd: import.meta.dirname, timeout: 5_000 })).stdout.trim();
  try {
    const commit = await git("rev-parse", "--short=10", "HEAD");
    const changed = (await git("status", "--porcelain", "--untracked-files=no")) !== "";
    return changed ? `${commit}+changes` : commit;
  } catch {
    // No git, or no repository: an installed copy.
    return "unknown";
  }
}
