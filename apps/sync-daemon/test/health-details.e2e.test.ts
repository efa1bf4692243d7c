/**
 * The health checks of a real daemon against their declarations: names, whether they are critical,
 * and details.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { HEALTH_CHECKS, healthCheckOf } from "@kvsync/observability/kvsync/health-checks";
import { detailFaults } from "@kvsync/observability/signals/health-check";
import { expect, test } from "vitest";

import { DaemonProcess } from "./daemon-process.ts";
import { byByte, TokenizerServer } from "./tokenizer-server.ts";

interface Report {
  readonly checks: Readonly<
    Record<string, { readonly critical: boolean; readonly details: Readonly<Record<string, unknown>> }>
  >;
}

test("every check is declared, with its details, and every declared check exists", async () => {
  const folder = mkdtempSync(join(tmpdir(), "kvsync-health-"));
  const tokenizer = await TokenizerServer.start(byByte);
  const service = createServer((_request, response) => response.end());
  await new Promise<void>((resolve) => service.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(service.address() as AddressInfo).port}`;
  const daemon = await DaemonProcess.start({
    sync: { tokenizer_endpoint: tokenizer.endpoint },
    snapshot: { directory: folder, interval_seconds: 3600 },
    health: {
      dependencies: [
        { name: "gateway", url, critical: true },
        { name: "away", url: "http://127.0.0.1:9" },
      ],
    },
  });
  try {
    const { checks } = (await (await daemon.fetch("/health")).json()) as Report;
    expect(Object.keys(checks)).toEqual([...Object.keys(HEALTH_CHECKS), "gateway", "away"]);
    for (const [name, { critical, details }] of Object.entries(checks)) {
      const declared = healthCheckOf(name);
      expect([name, detailFaults(declared, details)]).toEqual([name, []]);
      expect([name, critical]).toEqual([name, name === "gateway" || declared.critical]);
    }
  } finally {
    await daemon.end();
    await tokenizer.stop();
    service.close();
    rmSync(folder, { recursive: true, force: true });
  }
});
