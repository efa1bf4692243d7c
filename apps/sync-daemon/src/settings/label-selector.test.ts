import { expect, test } from "vitest";

import { isLabelKey, isLabelSelector } from "./label-selector.ts";

test.each([
  "app=vllm",
  "app==vllm",
  "app!=vllm",
  "model.aibrix.ai/kv-events-enabled",
  "!sleeping",
  "app=",
  "tier in (gold, silver)",
  "tier notin(gold),app = vllm , !x",
])("%j is a label selector", (text) => {
  expect(isLabelSelector(text)).toBe(true);
});

test.each([
  "",
  "app=vllm,",
  "app=a b",
  "app=a/b",
  "tier in gold",
  "a/b/c=d",
  "-x",
  "app=ü",
  `app=${"x".repeat(64)}`,
])("%j is no label selector", (text) => {
  expect(isLabelSelector(text)).toBe(false);
});

test("a selector that does not fit is refused at once, however it repeats itself", () => {
  expect(isLabelSelector(`a=${"b".repeat(2000)}`)).toBe(false);
  expect(isLabelSelector(`${"a,".repeat(500)}=`)).toBe(false);
});

test("a key has one prefix at most", () => {
  expect(["llm-d.ai/model", "model"].every(isLabelKey)).toBe(true);
  expect(["a/b/c", "", "/x", "x/", "a b"].some(isLabelKey)).toBe(false);
});
