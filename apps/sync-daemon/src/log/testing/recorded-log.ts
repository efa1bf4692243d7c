/** A log that a test reads. A line that is not as declared fails the test. */
import { eventWriter, type LogLine, type WriteEvent } from "../log-line.ts";
import { lineDeclarationFaults } from "./declared-lines.ts";

/** Takes every event, in order. */
export function recordedLog(): { readonly log: WriteEvent; readonly lines: LogLine[] } {
  const { lines, write } = recordedLines();
  return { log: eventWriter("test", write), lines };
}

/** Takes every line, in order. */
export function recordedLines(): { readonly write: (line: LogLine) => void; readonly lines: LogLine[] } {
  const lines: LogLine[] = [];
  const write = (line: LogLine): void => {
    const faults = lineDeclarationFaults(line);
    if (faults.length > 0) throw new Error(faults.join("; "));
    lines.push(line);
  };
  return { write, lines };
}
