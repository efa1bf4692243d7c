/** Label selectors as the API server evaluates them: equality, sets, presence and absence. */

/**
 * Whether a selector selects an object.
 *
 * @param selector - of labels; empty for everything.
 * @param labels - of the object.
 * @returns whether every requirement holds.
 */
export function selects(selector: string, labels: Readonly<Record<string, string>>): boolean {
  const requirements = selector.match(/(?:\([^)]*\)|[^,(])+/g) ?? [];
  return requirements.every((requirement) => holds(requirement.trim(), labels));
}

function holds(requirement: string, labels: Readonly<Record<string, string>>): boolean {
  const [, setKey, operator, list = ""] = /^(\S+)\s+(in|notin)\s*\(([^)]*)\)$/.exec(requirement) ?? [];
  if (setKey !== undefined) {
    const value = labels[setKey];
    const isIn =
      value !== undefined &&
      list
        .split(",")
        .map((one) => one.trim())
        .includes(value);
    return operator === "in" ? isIn : !isIn;
  }
  const [, key = "", comparison, wanted = ""] = /^([^=!\s]+)\s*(==?|!=)\s*(\S*)$/.exec(requirement) ?? [];
  if (comparison !== undefined) return comparison === "!=" ? labels[key] !== wanted : labels[key] === wanted;
  return requirement.startsWith("!") ? !(requirement.slice(1).trim() in labels) : requirement in labels;
}
