/**
 * The allowed addresses of engines that are registered over HTTP: the daemon connects only to a
 * checked address. The resolver is the test's.
 */
import { expect, test } from "vitest";

import { engineEntry } from "../engine/engine-entry.ts";
import { AdmissionError, EndpointAdmission } from "./endpoint-admission.ts";

const NAMES: Readonly<Record<string, readonly string[]>> = {
  "engine-0.pods": ["10.1.2.3"],
  both: ["fd00::3", "10.1.2.4"],
  "my_engine.": ["10.1.2.5"],
  public: ["93.184.215.14"],
  // The trick: one address that may be, and one that may not.
  rebinding: ["10.1.2.3", "127.0.0.1"],
  "2130706433": ["127.0.0.1"],
  empty: [],
};
let resolved: string[] = [];
const resolve = (host: string): Promise<readonly string[]> => {
  resolved.push(host);
  const found = NAMES[host];
  return found === undefined
    ? Promise.reject(Object.assign(new Error("getaddrinfo"), { code: "ENOTFOUND" }))
    : Promise.resolve(found);
};

async function admitted(
  endpoint: string,
  { ranges = null, isLocal = false }: { ranges?: readonly string[] | null; isLocal?: boolean } = {},
): Promise<string> {
  const engine = engineEntry.parse({ id: "a", model: "m", endpoint });
  const admission = new EndpointAdmission(ranges, isLocal, resolve);
  try {
    return (await admission.admit(engine)).ranks[0]?.endpoint ?? "";
  } catch (error) {
    if (!(error instanceof AdmissionError)) throw error;
    return `${error.facts.code}: ${error.message}`;
  }
}

test.each([
  ["tcp://10.1.2.3:5557", "tcp://10.1.2.3:5557"],
  ["tcp://[fd00::1]:5557", "tcp://[fd00::1]:5557"],
  ["tcp://engine-0.pods:5557", "tcp://10.1.2.3:5557"],
  ["tcp://both:5557", "tcp://10.1.2.4:5557"],
  ["tcp://my_engine.:5557", "tcp://10.1.2.5:5557"],
  ["tcp://[FD00:0::0001]:5557", "tcp://[fd00::1]:5557"],
  ["tcp://[::ffff:10.1.2.3]:5557", "tcp://10.1.2.3:5557"],
  ["tcp://[0:0:0:0:0:ffff:0a01:0203]:5557", "tcp://10.1.2.3:5557"],
])("%s is dialled as %s (E1, E3)", async (endpoint, dialled) => {
  expect(await admitted(endpoint)).toBe(dialled);
});

const ALLOWED = "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, fc00::/7";
const OUTSIDE = `outside of security.registration_ranges (${ALLOWED})`;
test.each([
  ["tcp://127.0.0.1:5557", `endpoint_not_allowed: tcp://127.0.0.1:5557: ${OUTSIDE}`],
  ["tcp://169.254.169.254:80", `endpoint_not_allowed: tcp://169.254.169.254:80: ${OUTSIDE}`],
  ["tcp://[::1]:5557", `endpoint_not_allowed: tcp://[::1]:5557: ${OUTSIDE}`],
  ["tcp://[::ffff:127.0.0.1]:5557", `endpoint_not_allowed: tcp://[::ffff:127.0.0.1]:5557: ${OUTSIDE}`],
  ["tcp://[fd00:ec2::254]:80", "endpoint_not_allowed: tcp://[fd00:ec2::254]:80: where a cloud hands out"],
  ["tcp://[fd20:ce::254]:80", "endpoint_not_allowed: tcp://[fd20:ce::254]:80: where a cloud hands out"],
  ["tcp://100.100.100.200:80", "endpoint_not_allowed: tcp://100.100.100.200:80: where a cloud hands out"],
  [
    "tcp://[::ffff:100.100.100.200]:80",
    "endpoint_not_allowed: tcp://[::ffff:100.100.100.200]:80: where a cloud hands out",
  ],
  ["tcp://a..b:5557", "endpoint_not_allowed: tcp://a..b:5557: expected tcp://"],
  [
    "tcp://public:5557",
    `endpoint_not_allowed: tcp://public:5557: public is 93.184.215.14, which is ${OUTSIDE}`,
  ],
  [
    "tcp://rebinding:5557",
    `endpoint_not_allowed: tcp://rebinding:5557: rebinding is 127.0.0.1, which is ${OUTSIDE}`,
  ],
  [
    "tcp://2130706433:5557",
    `endpoint_not_allowed: tcp://2130706433:5557: 2130706433 is 127.0.0.1, which is ${OUTSIDE}`,
  ],
  [
    "ipc:///run/secret",
    "endpoint_not_allowed: ipc:///run/secret: expected tcp://address:port or tcp://name:port",
  ],
  [
    "tcp://10.0.0.1:1;127.0.0.1:5557",
    "endpoint_not_allowed: tcp://10.0.0.1:1;127.0.0.1:5557: expected tcp://",
  ],
  ["tcp://[fe80::1%eth0]:5557", "endpoint_not_allowed: tcp://[fe80::1%eth0]:5557: expected tcp://"],
  ["tcp://nowhere:5557", "endpoint_unresolvable: tcp://nowhere:5557: no address for nowhere: ENOTFOUND"],
  [
    "tcp://empty:5557",
    "endpoint_unresolvable: tcp://empty:5557: no address for empty: it has neither an IPv4 nor an IPv6 address",
  ],
])("%s is refused (E2): %s", async (endpoint, message) => {
  expect((await admitted(endpoint)).slice(0, message.length)).toBe(message);
});

test("loopback is allowed where the daemon itself listens on loopback, and ranges that are given replace all others", async () => {
  expect(await admitted("tcp://127.0.0.1:1", { isLocal: true })).toBe("tcp://127.0.0.1:1");
  expect(await admitted("tcp://[::1]:1", { isLocal: true })).toBe("tcp://[::1]:1");
  const ranges = ["93.184.215.0/24"];
  expect(await admitted("tcp://public:1", { ranges })).toBe("tcp://93.184.215.14:1");
  expect(await admitted("tcp://10.1.2.3:1", { ranges, isLocal: true })).toContain("endpoint_not_allowed");
  expect(await admitted("tcp://10.1.2.3:1", { ranges: [] })).toContain("endpoint_not_allowed");
  const metadata = "tcp://100.100.100.200:1";
  expect(await admitted(metadata, { ranges: ["100.64.0.0/10"] })).toBe(metadata);
});

test("a name that is almost one is refused in a time that grows with its length, and not with the ways to cut it", async () => {
  const timeOf = async (length: number): Promise<number> => {
    const begunMs = performance.now();
    for (let i = 0; i < 20; i++)
      expect(await admitted(`tcp://${"a".repeat(length)}!:1`)).toContain("endpoint_not_allowed");
    return performance.now() - begunMs;
  };
  await timeOf(8);
  // Of ways to cut it there are 4096 times as many.
  const [short, long] = [await timeOf(12), await timeOf(24)];
  expect(long).toBeLessThan(100 * short);
});

test("every rank's sockets are checked, events and replay, and a name is resolved once", async () => {
  const admission = new EndpointAdmission(null, false, resolve);
  const entry = (replay_endpoint: string) =>
    engineEntry.parse({
      id: "a",
      model: "m",
      endpoint: "tcp://engine-0.pods:5557",
      replay_endpoint,
      dp_size: 2,
    });
  resolved = [];
  const { ranks } = await admission.admit(entry("tcp://engine-0.pods:5657"));
  expect(ranks.map(({ endpoint, replayEndpoint }) => [endpoint, replayEndpoint])).toEqual([
    ["tcp://10.1.2.3:5557", "tcp://10.1.2.3:5657"],
    ["tcp://10.1.2.3:5558", "tcp://10.1.2.3:5658"],
  ]);
  expect(resolved).toEqual(["engine-0.pods"]);
  await expect(admission.admit(entry("tcp://169.254.169.254:80"))).rejects.toThrow("169.254.169.254");
});
