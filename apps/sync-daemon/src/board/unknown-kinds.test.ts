import { UNKNOWN_KINDS_MAX } from "@kvsync/core";
import { expect, test } from "vitest";

import { KIND_CHARACTERS_MAX, UnknownKinds } from "./unknown-kinds.ts";

test("U1: a rank shows so many kinds, each once and cut to its length; another rank shows none of them", () => {
  const kinds = new UnknownKinds();
  const long = "k".repeat(KIND_CHARACTERS_MAX);
  kinds.note(3, `${long}first`);
  kinds.note(3, `${long}second`);
  for (let i = 0; i < UNKNOWN_KINDS_MAX; i++) kinds.note(3, `kind-${i}`);
  const others = Array.from({ length: UNKNOWN_KINDS_MAX - 1 }, (_, i) => `kind-${i}`);
  expect(kinds.of(3)).toEqual([long, ...others]);
  expect(kinds.of(4)).toEqual([]);
});

test("U2: a forgotten rank leaves no kind to the next one in its slot", () => {
  const kinds = new UnknownKinds();
  kinds.note(3, "holographic");
  kinds.note(4, "holographic");
  kinds.forget(3);
  expect(kinds.of(3)).toEqual([]);
  kinds.note(3, "psychic");
  expect(kinds.of(3)).toEqual(["psychic"]);
  expect(kinds.of(4)).toEqual(["holographic"]);
});
