/** Nest's own log lines, through the daemon's log: one JSON line each, like all others. */

import type { LoggerService } from "@nestjs/common";

import type { LineGate } from "../log/line-gate.ts";

/** Hands Nest's lines on. Its start-up chatter is for debugging. */
export class NestLogger implements LoggerService {
  readonly #log: LineGate;

  constructor(log: LineGate) {
    this.#log = log;
  }

  /** Nest's "log" is what it says at start-up. */
  log(message: unknown, context?: string): void {
    this.#write("debug", message, context);
  }

  /** An error of the framework. */
  error(message: unknown, stackOrContext?: string): void {
    this.#write("error", message, stackOrContext);
  }

  /** A warning of the framework. */
  warn(message: unknown, context?: string): void {
    this.#write("warn", message, context);
  }

  #write(level: "debug" | "error" | "warn", message: unknown, context: string | undefined): void {
    this.#log.write("framework", { context: context ?? null }, { level, text: String(message) });
  }
}
