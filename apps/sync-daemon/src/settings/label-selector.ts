/**
 * The syntax of a label selector, as the API server takes it: requirements with commas between.
 *
 *     key    !key    key=value    key==value    key!=value    key in (a, b)    key notin (a, b)
 *
 * It is checked here so that a mistake is an error at the start, and not a refusal of the API server. The API server
 * evaluates it. Source: kubernetes.io, "Labels and Selectors".
 */

/** Length of a selector; it goes into the address of each request. */
const SELECTOR_LENGTH_MAX = 1024;

const NAME = "[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?";
const KEY = `(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?/)?${NAME}`;
const VALUE = `(?:${NAME})?`;
const REQUIREMENT = `\\s*(?:!\\s*${KEY}|${KEY}(?:\\s*(?:==?|!=)\\s*${VALUE}|\\s+(?:in|notin)\\s*\\(\\s*${VALUE}(?:\\s*,\\s*${VALUE})*\\s*\\))?)\\s*`;
const SELECTOR = new RegExp(`^${REQUIREMENT}(?:,${REQUIREMENT})*$`);
const LABEL_KEY = new RegExp(`^${KEY}$`);

/** What is expected of a selector. */
export const SELECTOR_EXPECTED = `a label selector of at most ${SELECTOR_LENGTH_MAX} characters, such as app=vllm,tier in (gold, silver)`; /** What is expected of the key of a label or an annotation. */
export const LABEL_KEY_EXPECTED = "the key of a label, such as model.aibrix.ai/name";

/**
 * Whether a text is a label selector.
 *
 * @param text - any.
 * @returns false when the API server would refuse it.
 */
export function isLabelSelector(text: string): boolean {
  return text.length <= SELECTOR_LENGTH_MAX && SELECTOR.test(text);
}

/**
 * Whether a text is the key of a label or an annotation.
 *
 * @param text - any.
 * @returns false when no object can carry it.
 */
export function isLabelKey(text: string): boolean {
  return LABEL_KEY.test(text);
}
