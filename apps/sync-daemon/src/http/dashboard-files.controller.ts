/**
 * `/dashboard`: the files of the daemon's web page. They hold no data; the page asks for it with its
 * reader's token.
 *
 *  F1  Every answer below /dashboard has the headers of PAGE_HEADERS, a refusal too.
 */

import { Controller, Get, Headers, Inject, NotFoundException, Param, Res } from "@nestjs/common";
import type { FastifyReply } from "fastify";

import { StaticFiles } from "../dashboard/static-files.ts";

/**
 * What a browser may do with the page: run and load what comes from here, show it in no other page, and make no markup of text.
 */
const PAGE_HEADERS: Readonly<Record<string, string>> = {
  "content-security-policy": [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
  ].join("; "),
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
};

/** Serves the page. */
@Controller("dashboard")
export class DashboardFilesController {
  readonly #files: StaticFiles;

  constructor(@Inject(StaticFiles) files: StaticFiles) {
    this.#files = files;
  }

  /**
   * Leads to the page: its links are relative, so that it works behind any prefix.
   *
   * @param reply - gets the redirection.
   */
  @Get()
  lead(@Res() reply: FastifyReply): void {
    void reply.headers(PAGE_HEADERS).redirect("dashboard/", 308);
  }

  /**
   * The page.
   *
   * @param accepted - encodings.
   * @param known - what the browser has.
   * @param reply - gets the file.
   */
  // Nest takes one slash off the end of a path.
  @Get("//")
  page(
    @Headers("accept-encoding") accepted: string | undefined,
    @Headers("if-none-match") known: string | undefined,
    @Res() reply: FastifyReply,
  ): void {
    this.#send("", accepted, known, reply);
  }

  /**
   * A file beside the page.
   *
   * @param file - its name.
   * @param accepted - encodings.
   * @param known - what the browser has.
   * @param reply - gets the file.
   */
  @Get(":file")
  top(
    @Param("file") file: string,
    @Headers("accept-encoding") accepted: string | undefined,
    @Headers("if-none-match") known: string | undefined,
    @Res() reply: FastifyReply,
  ): void {
    this.#send(file, accepted, known, reply);
  }

  /**
   * A script, a style or a picture.
   *
   * @param file - its name.
   * @param accepted - encodings.
   * @param known - what the browser has.
   * @param reply - gets the file.
   */
  @Get("assets/:file")
  asset(
    @Param("file") file: string,
    @Headers("accept-encoding") accepted: string | undefined,
    @Headers("if-none-match") known: string | undefined,
    @Res() reply: FastifyReply,
  ): void {
    this.#send(`assets/${file}`, accepted, known, reply);
  }

  #send(path: string, accepted: string | undefined, known: string | undefined, reply: FastifyReply): void {
    void reply.headers(PAGE_HEADERS);
    const answer = this.#files.answer(path, accepted, known);
    if (answer === null) throw new NotFoundException();
    const { status, headers, bytes } = answer;
    void reply
      .status(status)
      .headers(headers)
      .send(bytes ?? undefined);
  }
}
