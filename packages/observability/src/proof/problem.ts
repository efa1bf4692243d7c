/**
 * The findings of a check of a rendered file. Codes are closed, so that the mutation test can ask
 * for each by name.
 */

/** Every kind of mistake that the checks know. */
export type ProblemCode =
  // expressions
  | "syntax"
  | "outside_subset"
  | "unknown_metric"
  | "unknown_label"
  | "unknown_label_value"
  | "pattern_matches_nothing"
  | "bad_pattern"
  | "label_lost"
  | "rate_of_gauge"
  | "raw_counter"
  | "bare_histogram"
  | "unknown_bucket_bound"
  | "quantile_without_le"
  | "quantile_out_of_range"
  | "vector_mismatch"
  | "measure_mismatch"
  | "ratio_without_floor"
  | "range_too_short"
  | "recorded_series_exists"
  | "matcher_repeated"
  | "sum_of_shares"
  | "ratio_parts"
  | "scaled"
  | "set_operator"
  // rules
  | "unreadable_file"
  | "rule_name"
  | "rule_duplicate"
  | "rule_group"
  | "rule_label"
  | "rule_for"
  | "rule_annotation"
  | "rule_template"
  | "no_comparison"
  | "threshold_outside_buckets"
  | "coarse_buckets"
  | "never_true"
  | "rank_in_alert"
  | "dead_runbook"
  | "dead_panel_link"
  | "record_level"
  | "quantile_name"
  | "threshold_out_of_range"
  // dashboards
  | "dashboard_uid"
  | "dashboard_editable"
  | "dashboard_variable"
  | "dashboard_annotation"
  | "dashboard_refresh"
  | "undeclared_variable"
  | "panel_id"
  | "panel_text"
  | "panel_datasource"
  | "panel_unit"
  | "panel_targets"
  | "panel_range"
  | "panel_scope"
  | "panel_threshold"
  | "legend_label"
  | "legend_ambiguous"
  | "replicas_summed"
  | "order_word"
  | "panel_exchanged"
  | "panel_family"
  | "panel_normal"
  | "value_words"
  | "panel_by"
  | "panel_states"
  | "grid"
  | "panel_budget"
  | "panel_onward"
  | "panel_crowded"
  | "first_screen"
  | "panel_drill_down"
  | "dead_link"
  | "schema"
  // coverage
  | "metric_without_panel"
  | "recording_unused"
  | "exemplars_unseen"
  | "panel_unrelated"
  | "runbook_unreachable"
  | "document_gap"
  // scrapes
  | "metric_not_emitted"
  | "metric_labels"
  | "metric_label_value"
  | "metric_unmoved"
  | "metric_undeclared"
  // configurations of other programs
  | "configuration"
  | "deployment"
  | "unknown_setting"
  | "unknown_option"
  | "unscoped_selector"
  | "unknown_log_event"
  | "unknown_log_field"
  | "log_event_without_panel"
  | "alert_without_test"
  | "alert_without_runbook"
  | "stale_file";

/** One finding. */
export interface Problem {
  readonly code: ProblemCode;
  /** File, and the place in it as a person would say it. */
  readonly where: string;
  readonly message: string;
}

/**
 * Collects findings about one place.
 */
export class ProblemList {
  readonly #found: Problem[] = [];
  #where = "";

  /**
   * Sets the place that findings are about from now on.
   *
   * @param where - file and place.
   */
  at(where: string): void {
    this.#where = where;
  }

  /**
   * Adds a finding.
   *
   * @param code - what kind.
   * @param message - what is wrong, and what would be right.
   */
  add(code: ProblemCode, message: string): void {
    this.#found.push({ code, where: this.#where, message });
  }

  /**
   * Adds findings made elsewhere.
   *
   * @param problems - any number.
   */
  addAll(problems: readonly Problem[]): void {
    this.#found.push(...problems);
  }

  /** All of them, in the order they were made. */
  get found(): readonly Problem[] {
    return this.#found;
  }
}

/**
 * Findings as lines of text.
 *
 * @param problems - any number.
 * @returns one line each; empty text when there are none.
 */
export function describeProblems(problems: readonly Problem[]): string {
  return problems.map(({ code, where, message }) => `${where}: ${message} [${code}]`).join("\n");
}
