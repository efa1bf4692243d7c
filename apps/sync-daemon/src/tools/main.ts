#!/usr/bin/env node
/** The process of the `kvsync` tools: arguments in, exit code out. */

import { resolverOf } from "../engine/host-names.ts";
import { ResolvingTransport } from "../transport/resolving-transport.ts";
import { ZmqTransport } from "../transport/zmq-transport.ts";
import { ZmtpTransport } from "../transport/zmtp-transport.ts";
import { runCli } from "./cli.ts";

const interrupt = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    // The second time in earnest.
    if (interrupt.signal.aborted) process.exit(130);
    interrupt.abort();
  });
}
// A reader that has seen enough (`| head`) is no error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  process.exit(error.code === "EPIPE" ? 0 : 1);
});

process.exitCode = await runCli(process.argv.slice(2), {
  out: process.stdout,
  err: process.stderr,
  environment: process.env,
  transport: (curve, dnsServers = []) =>
    new ResolvingTransport(
      curve === null ? new ZmtpTransport() : new ZmqTransport(curve),
      resolverOf(dnsServers),
    ),
  signal: interrupt.signal,
});
