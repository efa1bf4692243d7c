import { expect, test } from "vitest";
import { curveKeyPair, Subscriber } from "zeromq";

import { isCurveKey } from "./curve-key.ts";

/** Whether libzmq takes it. */
function isTaken(key: string): boolean {
  const socket = new Subscriber({ linger: 0 });
  try {
    socket.curveServerKey = key;
    return true;
  } catch {
    return false;
  } finally {
    socket.close();
  }
}

test("a text is a key exactly when libzmq takes it", () => {
  const { publicKey } = curveKeyPair();
  const texts = [
    publicKey,
    curveKeyPair().publicKey,
    publicKey.slice(1),
    `${publicKey}0`,
    "",
    `_${publicKey.slice(1)}`,
    `${publicKey.slice(1)}\u00e9`,
    "#".repeat(40),
    "0".repeat(40),
    "%nSc0".repeat(8),
    "%nSc1".repeat(8),
  ];
  expect(texts.map(isCurveKey)).toEqual(texts.map(isTaken));
  expect(isCurveKey(publicKey)).toBe(true);
});
