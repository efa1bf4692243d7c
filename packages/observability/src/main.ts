/** The command line for kvsync's own files; command.ts has its commands. */

import { join } from "node:path";

import { runCommand } from "./command.ts";
import { KVSYNC } from "./kvsync/project.ts";

const ROOT = join(import.meta.dirname, "..", "..", "..");

process.exitCode = await runCommand(KVSYNC, ROOT, process.argv.slice(2));
