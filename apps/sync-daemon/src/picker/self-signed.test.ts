import { createPrivateKey, X509Certificate } from "node:crypto";

import { expect, test } from "vitest";

import { selfSigned } from "./self-signed.ts";

const NOW_MS = Date.parse("2026-03-01T12:00:00Z");

test.each(["kvsync-0", "a", `${"sub.".repeat(30)}example.org`])(
  "X1: Node reads the certificate of %s, and its key belongs to it",
  (name) => {
    const { cert, key } = selfSigned(name, NOW_MS);
    const read = new X509Certificate(cert);
    expect(read.checkPrivateKey(createPrivateKey(key))).toBe(true);
    expect(read.verify(read.publicKey)).toBe(true);
    expect(read.checkHost(name)).toBe(name);
    expect(read.checkIssued(read)).toBe(true);
    expect(read.publicKey.asymmetricKeyDetails).toEqual({ namedCurve: "prime256v1" });
    expect([Date.parse(read.validFrom), Date.parse(read.validTo)]).toEqual([
      NOW_MS - 86_400_000,
      Date.parse("2036-03-01T12:00:00Z"),
    ]);
  },
);

test("years from 2050 on are written with four digits", () => {
  const read = new X509Certificate(selfSigned("h", Date.parse("2049-06-01T00:00:00Z")).cert);
  expect(Date.parse(read.validTo)).toBe(Date.parse("2059-06-01T00:00:00Z"));
});

test("two certificates have neither key nor number in common", () => {
  const [one, other] = [selfSigned("h", NOW_MS), selfSigned("h", NOW_MS)];
  expect(one.key).not.toBe(other.key);
  expect(new X509Certificate(one.cert).serialNumber).not.toBe(new X509Certificate(other.cert).serialNumber);
});
