/**
 * The command line of the shop's monitoring:
 *
 *     node src/shop/command.ts generate      writes rules, dashboards, runbooks and pages to this folder
 *     node src/shop/command.ts check         reads what would be written, as Prometheus and Grafana do
 */
import { runCommand } from "@kvsync/observability/command";

import { PROJECT } from "./monitoring.ts";

process.exitCode = await runCommand(PROJECT, process.cwd(), process.argv.slice(2));
