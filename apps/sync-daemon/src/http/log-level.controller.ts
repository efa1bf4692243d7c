/** `/api/v1/log-level`: how much is logged, to be asked and to be changed while the daemon runs. */

import { Body, Controller, Get, Inject, Put } from "@nestjs/common";

import { LevelControl, logLevelBody } from "../log/level-control.ts";
import { LineGate } from "../log/line-gate.ts";
import type { LogLevelAnswer } from "../openapi/health-answers.ts";
import { checkFields } from "../request/check-fields.ts";

/** Asks and changes the level. */
@Controller("api/v1/log-level")
export class LogLevelController {
  readonly #log: LineGate;
  readonly #logLevel: LevelControl;

  constructor(@Inject(LineGate) log: LineGate, @Inject(LevelControl) logLevel: LevelControl) {
    this.#log = log;
    this.#logLevel = logLevel;
  }

  /**
   * Where the level stands.
   *
   * @returns the level, the configured one, and until when.
   */
  @Get()
  level(): LogLevelAnswer {
    return this.#logLevel.state();
  }

  /**
   * Changes the level in all threads.
   *
   * @param body - the level, and for how long.
   * @returns where it stands now.
   */
  @Put()
  change(@Body() body: unknown): LogLevelAnswer {
    const { level, seconds } = checkFields(logLevelBody, body);
    const { level: previous } = this.#logLevel.state();
    this.#logLevel.set(level, seconds ?? null);
    // Whatever the level: that it was changed has to be found later.
    this.#log.write("log_level_changed", { from: previous, to: level, seconds: seconds ?? null });
    return this.#logLevel.state();
  }
}
