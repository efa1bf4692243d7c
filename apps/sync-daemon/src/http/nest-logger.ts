/** Nest's own log lines, through pino: one JSON line each, like everybody's. */

import type { LoggerService } from "@nestjs/common";
import type { Logger } from "pino";

/** Hands Nest's lines to pino. Its start-up chatter goes to debug. */
export class NestLogger implements LoggerService {
  readonly #log: Logger;

  constructor(log: Logger) {
    this.#log = log.child({ component: "nest" });
  }

  /** Nest's "log" is what it says at start-up. */
  log(message: unknown, context?: string): void {
    this.#log.debug({ context }, String(message));
  }

  /** An error of the framework. */
  error(message: unknown, stackOrContext?: string): void {
    this.#log.error({ detail: stackOrContext }, String(message));
  }

  /** A warning of the framework. */
  warn(message: unknown, context?: string): void {
    this.#log.warn({ context }, String(message));
  }
}
