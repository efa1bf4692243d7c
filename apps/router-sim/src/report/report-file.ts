/**
 * The files that options name for results. A run begins only when they can be written. So half an
 * hour of simulation is not lost to a wrong path.
 */
import { constants } from "node:fs";
import { access, stat, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { CodedError } from "@kvsync/core";

/** What can be wrong with one. */
interface ReportFileFacts {
  readonly code: "report_unwritable";
  readonly path: string;
}

/** A file that cannot be written; the message names it and the reason. */
export class ReportFileError extends CodedError<ReportFileFacts> {
  override readonly name = "ReportFileError";
}

/**
 * Looks whether files can be written, without touching them.
 *
 * @param paths - those not asked for are undefined or null.
 * @throws ReportFileError `report_unwritable` of the first that cannot.
 */
export async function checkReportFiles(paths: readonly (string | null | undefined)[]): Promise<void> {
  for (const path of paths) {
    if (path === undefined || path === null) continue;
    try {
      const before = await stat(path).catch(() => null);
      if (before?.isDirectory() === true) throw new Error("it is a directory");
      await access(before === null ? dirname(path) : path, constants.W_OK);
    } catch (cause) {
      throw unwritable(path, cause);
    }
  }
}

/**
 * Writes a file, over what is there.
 *
 * @param path - where to.
 * @param content - all of it, or its lines with their ends.
 * @throws ReportFileError `report_unwritable`.
 */
export async function writeReportFile(path: string, content: Parameters<typeof writeFile>[1]): Promise<void> {
  try {
    await writeFile(path, content);
  } catch (cause) {
    throw unwritable(path, cause);
  }
}

function unwritable(path: string, cause: unknown): ReportFileError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new ReportFileError({ code: "report_unwritable", path }, `cannot write ${path}: ${reason}`, {
    cause,
  });
}
