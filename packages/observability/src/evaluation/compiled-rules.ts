/**
 * Rules as a process reads them that evaluates its own alerts: expressions as trees, texts as
 * templates. `compile-rules.ts` makes them when files are generated, `rule-evaluation.ts` runs them.
 *
 *     { intervalSeconds, job,
 *       recordings: [{ name, tree }],        in the order in which they are evaluated
 *       alerts:     [{ name, …, tree }] }    without a tree: `needs` says what only Prometheus has
 *
 * The file is plain JSON, so that no parser is needed at run time.
 */

import type { Tree } from "../proof/promql-tree.ts";
import type { Severity } from "../rules/alert.ts";

/** Version of the form; another one is refused. */
export const COMPILED_RULES_VERSION = 1;

/**
 * What an alert needs that a process does not have by itself.
 *
 *  - `history`: samples of more than the window that is kept
 *  - `other_exporters`: series of other processes
 *  - `scrape`: the outcome of Prometheus's own scrape
 */
export const RULE_NEEDS = ["history", "other_exporters", "scrape"] as const;

/** One of `RULE_NEEDS`. */
export type RuleNeed = (typeof RULE_NEEDS)[number];

/** A recorded series. */
export interface CompiledRecording {
  readonly name: string;
  readonly tree: Tree;
}

/** An alert. */
export interface CompiledAlert {
  readonly name: string;
  readonly severity: Severity;
  readonly component: string;
  readonly forSeconds: number;
  readonly summary: string;
  /** With templates of labels and value. */
  readonly description: string;
  /** File name of its runbook. */
  readonly runbook: string;
  readonly panel: { readonly uid: string; readonly id: number };
  /** Its condition; null when it needs Prometheus. */
  readonly tree: Tree | null;
  readonly needs: RuleNeed | null;
}

/** All of a project. */
export interface CompiledRules {
  readonly version: number;
  readonly intervalSeconds: number;
  /** Value of the label `job` of the process's own series. */
  readonly job: string;
  readonly recordings: readonly CompiledRecording[];
  readonly alerts: readonly CompiledAlert[];
}

/**
 * Reads the file.
 *
 * @param text - as generated.
 * @returns the rules.
 * @throws RangeError for another version of the form.
 */
export function readCompiledRules(text: string): CompiledRules {
  const rules = JSON.parse(text) as CompiledRules;
  if (rules.version !== COMPILED_RULES_VERSION)
    throw new RangeError(
      `compiled rules of version ${rules.version}; this program reads version ${COMPILED_RULES_VERSION}: generate them again`,
    );
  return rules;
}
