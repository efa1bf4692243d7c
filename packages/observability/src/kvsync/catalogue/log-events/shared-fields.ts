/** The fields that several log events share, so that one name means one thing in the whole log. */

import { integer, oneOf, orAbsent, text } from "../../../signals/field.ts";

/** Of an engine. The labels of metrics have the same names. */
export const POD_FIELD = text("id of the engine, as in `GET /api/v1/engines`");

/** Of a rank of an engine. */
export const RANK = {
  pod: POD_FIELD,
  model: text("model that the engine serves"),
  dp_rank: integer("data-parallel rank of the engine, from 0"),
} as const;

/** Number of a message in its stream. */
export const SEQUENCE_NUMBER = integer("number of the message in its stream");

/** Where engines come from. */
export const SOURCE = oneOf(["file", "http", "kubernetes"], "source of engines");

/** An ingest worker. */
export const WORKER_FIELD = text("ingest worker, such as `ingest-0`");

/** An unexpected error, with the place where it arose. */
export const ERROR_FIELDS = {
  error_type: text("class of the error; the type of the value when no error was thrown"),
  error_code: orAbsent(text("code of the system or the library"), "the error has none"),
  error_message: orAbsent(text("text of the error"), "the text quotes input, or no error was thrown"),
  stack: orAbsent(text("place where the error arose, one frame per line"), "no error was thrown"),
} as const;
