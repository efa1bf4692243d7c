/** Coded errors of the prefix index: foreign values that it cannot work with. */
import { CodedError } from "../errors.ts";

/** What can be wrong, by code. */
export type IndexErrorFacts =
  | { readonly code: "invalid_block_size"; readonly blockSize: number; readonly blockSizeMax: number }
  | { readonly code: "invalid_lookahead"; readonly lookahead: number; readonly lookaheadMax: number }
  | {
      readonly code: "invalid_option";
      readonly option: string;
      readonly actual: number;
      readonly expected: string;
    }
  | { readonly code: "invalid_rank_slot"; readonly rankSlot: number; readonly rankSlotsMax: number }
  | { readonly code: "too_many_tokens"; readonly actual: number; readonly expectedMax: number }
  | { readonly code: "too_many_blocks"; readonly actual: number; readonly expectedMax: number }
  | { readonly code: "too_many_bytes"; readonly actual: number; readonly expectedMax: number }
  | { readonly code: "too_many_readers"; readonly readersMax: number }
  | { readonly code: "context_name_too_long"; readonly bytes: number; readonly bytesMax: number };

/** Thrown by the prefix index for input that it refuses. Nothing was changed. */
export class IndexError extends CodedError<IndexErrorFacts> {
  override readonly name = "IndexError";
}
