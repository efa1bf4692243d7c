import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, expect, test } from "vitest";

import { readUsable } from "./read-settings.ts";

const folder = mkdtempSync(join(tmpdir(), "kvsync-picker-settings-"));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** Settings that are to blame. */
function faultsOf(settings: object, environment: Record<string, string> = {}): string[] {
  const file = join(folder, "kvsync.yaml");
  writeFileSync(file, JSON.stringify(settings));
  return readUsable(["--config", file], environment).faults.map(({ line }) => line.replace(/^.*?: /, ""));
}

const ON = { enabled: true, host: "10.0.0.1" };

test("without TLS the picker listens on loopback alone", () => {
  expect(faultsOf({ picker: { ...ON, tls: { mode: "none" } } })).toEqual([
    'picker.tls.mode: "none" is not usable; expected self_signed or files, because picker.host 10.0.0.1 can be reached from other machines',
  ]);
  for (const host of ["127.0.0.1", "::1", "localhost"])
    expect(faultsOf({ picker: { ...ON, host, tls: { mode: "none" } } })).toEqual([]);
  expect(faultsOf({ picker: { ...ON, port: 0, tls: { mode: "none" } } })).toEqual([]);
});

test.each([
  [{ mode: "files" }, ["picker.tls.cert_file", "picker.tls.key_file"]],
  [{ mode: "files", cert_file: "c" }, ["picker.tls.key_file"]],
  [{ cert_file: "c", key_file: "k" }, ["picker.tls.mode", "picker.tls.mode"]],
  [{ mode: "files", cert_file: "c", key_file: "k", client_ca_file: "a" }, []],
  [{ client_ca_file: "a" }, []],
  [{ mode: "off" }, ["picker.tls.mode"]],
])("%j is judged as a whole", (tls, expected) => {
  expect(faultsOf({ picker: { ...ON, tls } }).map((line) => line.split(":")[0])).toEqual(expected);
});

test("client certificates need TLS", () => {
  const tls = { mode: "none", client_ca_file: "a" };
  expect(faultsOf({ picker: { ...ON, host: "::1", tls } })).toEqual([
    'picker.tls.mode: "none" is not usable; expected self_signed or files with picker.tls.client_ca_file',
  ]);
});

test("a certificate for NATS is given with its key", () => {
  for (const [share, missing] of [
    [{ cert_file: "c" }, "key_file"],
    [{ key_file: "k" }, "cert_file"],
  ] as const)
    expect(faultsOf({ picker: { enabled: true, share } })).toEqual([
      expect.stringMatching(
        new RegExp(
          `^picker\\.share\\.${missing}: .* because the other one of cert_file and key_file is set$`,
        ),
      ),
    ]);
  expect(
    faultsOf({ picker: { enabled: true, share: { cert_file: "c", key_file: "k", ca_file: "a" } } }),
  ).toEqual([]);
});

test("a Service of the name kvsync-picker does not change the picker's port", () => {
  expect(faultsOf({}, { KVSYNC_PICKER_PORT: "tcp://10.96.0.7:9002" })).toEqual([]);
  expect(faultsOf({}, { KVSYNC_PICKER_PORT: "tcp" })).toHaveLength(1);
});

test("two engines of the file have no HTTP address in common", () => {
  const engine = (id: string, port: number): object => ({
    id,
    model: "m",
    endpoint: `tcp://10.0.0.7:${port}`,
    http: ["10.0.0.7:8000"],
  });
  expect(faultsOf({ engines: [engine("a", 1), engine("b", 2)] })).toEqual([
    expect.stringMatching(
      /^engines\.1\.http: .* expected addresses of its own; engines\.0 has 10\.0\.0\.7:8000 too$/,
    ),
  ]);
});

test.each([
  ["nats://a:4222, tls://u:p@b", []],
  ["localhost", []],
  ["http://u:hunter2@a:4222", ["picker.share.url"]],
  ["nats://a,,nats://b", ["picker.share.url"]],
  ["nats://", ["picker.share.url"]],
])("the servers to share decisions over may be %s: %j", (url, faults) => {
  const found = faultsOf({ picker: { ...ON, share: { url } } });
  expect(found.map((fault) => fault.split(":")[0])).toEqual(faults);
  expect(JSON.stringify(found)).not.toContain("hunter2");
});
