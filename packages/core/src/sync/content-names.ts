/**
 * Names that stand for several contents. SGLang before 0.5.6 names a page by its tokens alone,
 * without the prefix (sgl-project/sglang#13488). The same name then comes behind several prefixes,
 * and a parent of that name does not identify its prefix. A name that came to mean another block is
 * kept here, and stores behind it are not indexed. They would be attached to a prefix that the
 * engine may not hold.
 *
 * Bounded: beyond `CONTENT_NAMES_MAX` names, every name counts as one of them.
 */

/** Most names of a rank: 3 MB. */
const CONTENT_NAMES_MAX = 65_536;
/** Most names that go with a stream to another thread or into a snapshot; more are all of them. */
export const CONTENT_NAMES_KEPT_MAX = 256;

/** As plain data: low and high words of the names; "all" when every name counts. */
export type NamesState = readonly (readonly [low: number, high: number])[] | "all";

/** The names of one rank. */
export class ContentNames {
  readonly #names = new Set<string>();
  #isAll = false;

  /** Whether no name was found yet. */
  get isEmpty(): boolean {
    return this.#names.size === 0 && !this.#isAll;
  }

  /** Notes a name. */
  add(low: number, high: number): void {
    if (this.#isAll) return;
    this.#names.add(`${low}:${high}`);
    if (this.#names.size <= CONTENT_NAMES_MAX) return;
    this.#isAll = true;
    this.#names.clear();
  }

  /** Whether a name stands for several contents, as far as is known. */
  has(low: number, high: number): boolean {
    return this.#isAll || this.#names.has(`${low}:${high}`);
  }

  /** Forgets everything. */
  clear(): void {
    this.#names.clear();
    this.#isAll = false;
  }

  /** Everything as plain data. */
  state(): NamesState {
    if (this.#isAll || this.#names.size > CONTENT_NAMES_KEPT_MAX) return "all";
    return [...this.#names].map((key) => {
      const [low, high] = key.split(":").map(Number);
      return [low, high];
    });
  }

  /** Takes over what another one had. */
  restore(state: NamesState): void {
    this.clear();
    if (state === "all") this.#isAll = true;
    else for (const [low, high] of state) this.add(low, high);
  }
}
