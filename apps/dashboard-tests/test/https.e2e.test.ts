/**
 * The page over HTTPS with a certificate of no public authority. It is served by the daemon itself, and by a proxy that ends TLS
 * and adds a path prefix.
 *
 * The browser trusts this one key (`--ignore-certificate-errors-spki-list`), and checks every other certificate as usual.
 */
import { spawnSync } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { request as ask } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { hasChromium, PATIENCE, see, useBrowser } from "./browser.ts";
import { RealDaemon, RealEngine } from "./real-fleet.ts";

const folder = mkdtempSync(join(tmpdir(), "kvsync-https-"));
const [cert_file, key_file] = [join(folder, "tls.crt"), join(folder, "tls.key")];

/** Makes key and certificate, as docs/operations/security.md does. */
const made = spawnSync("openssl", [
  ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"],
  ...["-subj", "/CN=kvsync", "-addext", "subjectAltName=IP:127.0.0.1"],
  ...["-keyout", key_file, "-out", cert_file],
]);
const hasOpenssl = made.status === 0;

/** The key as the flag names it. */
function keyPin(): string {
  const { publicKey } = new X509Certificate(readFileSync(cert_file));
  return createHash("sha256")
    .update(publicKey.export({ type: "spki", format: "der" }))
    .digest("base64");
}

/** Passes everything under a prefix on to a daemon. */
function prefixProxy(daemon: RealDaemon, prefix: string, foreign: string[]): Server {
  const tls = { cert: readFileSync(cert_file), key: readFileSync(key_file) };
  return createServer(tls, (incoming, outgoing) => {
    const path = incoming.url ?? "";
    if (!path.startsWith(`${prefix}/`)) {
      foreign.push(path);
      outgoing.writeHead(404).end();
      return;
    }
    const headers = { ...incoming.headers, host: new URL(daemon.url).host };
    const passed = ask(
      `${daemon.url}${path.slice(prefix.length)}`,
      { method: incoming.method, headers },
      (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(outgoing);
      },
    );
    passed.on("error", () => outgoing.destroy());
    outgoing.on("close", () => passed.destroy());
    incoming.pipe(passed);
  });
}

describe.skipIf(!hasChromium || !hasOpenssl)("the page over HTTPS", () => {
  const flags = hasOpenssl ? [`--ignore-certificate-errors-spki-list=${keyPin()}`] : [];
  const browser = useBrowser(flags);
  let engine: RealEngine;

  beforeAll(async () => {
    engine = await RealEngine.start("engine-0", 1);
  });
  afterAll(async () => {
    await engine.stop();
    rmSync(folder, { recursive: true });
  });

  it("comes from a daemon with a certificate of its own, with its stream", async () => {
    const daemon = await RealDaemon.start({ engines: [engine.entry()], tls: { cert_file, key_file } });
    expect(daemon.url).toMatch(/^https:/);
    const { page, requests } = await browser.open(`${daemon.url}/dashboard/`);
    await engine.serve(2);
    await see(page, "The engine is followed exactly.");
    await page.getByRole("link", { name: "System" }).click();
    await see(page, /until .+ left/);
    expect(requests.filter((address) => !address.startsWith("https:"))).toEqual([]);
    await page.goto("about:blank");
    await daemon.end();
  });

  it("comes through a proxy that ends TLS and adds a prefix: each view, each address below the prefix, and the stream", async () => {
    const daemon = await RealDaemon.start({ engines: [engine.entry()] });
    await engine.serve(2);
    await daemon.caughtUp([engine], ["exact", "partial"]);
    const foreign: string[] = [];
    const proxy = prefixProxy(daemon, "/some/prefix", foreign);
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    const url = `https://127.0.0.1:${(proxy.address() as AddressInfo).port}/some/prefix/dashboard`;
    const { page } = await browser.open(url);
    await page.locator("span.live:not(.connecting, .waiting)").waitFor(PATIENCE);
    expect(page.url()).toContain("/some/prefix/dashboard/");
    for (const name of ["Engines", "Alerts", "Prefixes", "Routing", "Index", "Events", "Logs", "System"]) {
      await page
        .getByRole("link", { name: new RegExp(`^${name}`) })
        .first()
        .click();
      await page.locator(`nav [aria-current]`, { hasText: name }).waitFor(PATIENCE);
      await expect.poll(() => page.locator("main .panel").count(), PATIENCE).toBeGreaterThan(0);
    }
    await page.getByRole("link", { name: "Overview" }).click();
    const before = await daemon.ranks();
    await engine.serve(2);
    await daemon.caughtUp([engine], ["exact", "partial"]);
    expect((await daemon.ranks()).get("engine-0")?.last_sequence_number).toBeGreaterThan(
      before.get("engine-0")?.last_sequence_number ?? 0,
    );
    await page
      .getByRole("link", { name: /^Engines/ })
      .first()
      .click();
    const last = engine.lastSequenceNumber.toLocaleString("en-US");
    await expect.poll(() => page.locator("tr.row").first().innerText(), PATIENCE).toContain(last);
    // A browser asks for the icon of a site by itself.
    expect(foreign.filter((path) => path !== "/favicon.ico")).toEqual([]);
    await page.goto("about:blank");
    proxy.closeAllConnections();
    await new Promise((resolve) => proxy.close(resolve));
    await daemon.end();
  });
});
