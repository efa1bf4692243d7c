/** `GET /openapi.json`: the API's description of itself. */

import { Controller, Get, Header } from "@nestjs/common";

import { openapiDocument } from "../openapi/document.ts";

/** Serves the document. */
@Controller("openapi.json")
export class OpenapiController {
  readonly #text = JSON.stringify(openapiDocument());

  /**
   * Gives the document.
   *
   * @returns JSON.
   */
  @Get()
  @Header("content-type", "application/json")
  document(): string {
    return this.#text;
  }
}
