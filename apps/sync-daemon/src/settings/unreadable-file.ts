/**
 * Why a file cannot be read, for a line that names the file already. The system's own message has
 * the path a second time, and its codes need a manual.
 */

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EISDIR: "it is a folder, and no file",
  ENOTDIR: "a part of its path is a file, and no folder",
  ELOOP: "its links lead to each other",
};

/**
 * Why a file could not be read.
 *
 * @param error - of the system, or any other.
 * @param path - as it was asked for.
 * @returns a part of a sentence without the path.
 */
export function whyUnreadable(error: unknown, path: string): string {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (code === "EACCES" || code === "EPERM") return `this user may not read it (${code})`;
  const message = error instanceof Error ? error.message : String(error);
  return REASONS[code] ?? message.replace(`${path}: `, "").replace(`'${path}'`, "it");
}
