/**
 * The numbered invariants of source headers, and the assertions, checks and tests that execute them.
 *
 *     header of x.ts: " *  Y1  Messages are applied …"      x.ts:      assert(…, "Y1: …")
 *                                                             x.test.ts: test("… (Y1)", …)
 *
 * A string that holds the number executes it, in one of three places of its package. They are the
 * file itself, a file of its folder that names it, and a test or bench that names it or has its
 * name. "Y1 to Y3" holds three numbers. A number in a comment executes nothing.
 */
import { posix } from "node:path";

import type { Tree } from "./tree.ts";

/** A number in a header. */
export interface Invariant {
  /** From the root. */
  readonly file: string;
  readonly number: string;
}

const HEADER = /^\s*(?:#!.*\n)?\s*\/\*\*[\s\S]*?\*\//;
const NUMBERED = /^ \* {1,3}([A-Z]\d{1,2}) {1,2}\S/gm;
const RANGE = /\b([A-Z])(\d{1,2}) (?:to|–|…) ([A-Z])(\d{1,2})\b/g;
const NUMBER = /\b[A-Z]\d{1,2}\b/g;
const COMMENTS = /\/\*[\s\S]*?\*\/|(?<=^|\s)\/\/.*/gm;
const STRINGS = /"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`/g;
const TESTS = /\.(?:test|bench)\.ts$|\/(?:test|testing|bench)\/|-world\.ts$/;

/**
 * Collects the invariants of the tree that nothing executes by their number.
 *
 * @param sources - of the tree.
 * @returns those, in the order of the files.
 */
export function unexecuted(sources: Tree["sources"]): Invariant[] {
  const numbers = new Map(sources.map(({ file, text }) => [file, numbersInStrings(text)] as const));
  return sources.flatMap(({ file, text }) => {
    const declared = declaredIn(text);
    if (declared.length === 0) return [];
    const places = sources.filter((other) => isPlace(file, other));
    const executed = new Set(places.flatMap((other) => [...(numbers.get(other.file) ?? [])]));
    return declared.filter((number) => !executed.has(number)).map((number) => ({ file, number }));
  });
}

function declaredIn(text: string): string[] {
  const header = HEADER.exec(text)?.[0] ?? "";
  return [...new Set([...header.matchAll(NUMBERED)].map(([, number = ""]) => number))];
}

/** Whether a string of `other` can execute an invariant of `file`. */
function isPlace(file: string, other: Tree["sources"][number]): boolean {
  if (other.file === file) return true;
  if (packageOf(other.file) !== packageOf(file)) return false;
  const stem = posix.basename(file).replace(/\.[a-z]+$/, "");
  if (posix.basename(other.file) === `${stem}.test.ts`) return true;
  if (!other.text.includes(posix.basename(file))) return false;
  if (posix.dirname(other.file).startsWith(posix.dirname(file))) return true;
  return TESTS.test(other.file);
}

function packageOf(file: string): string {
  return file.split("/").slice(0, 2).join("/");
}

function numbersInStrings(text: string): Set<string> {
  const strings = (text.replaceAll(COMMENTS, "").match(STRINGS) ?? []).join(" ");
  const numbers = new Set<string>(strings.match(NUMBER));
  for (const [, letter = "", from, toLetter, to] of strings.matchAll(RANGE)) {
    if (letter !== toLetter) continue;
    for (let number = Number(from); number <= Number(to); number += 1) numbers.add(`${letter}${number}`);
  }
  return numbers;
}
