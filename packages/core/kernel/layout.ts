/** Where things lie in linear memory. */
export const HASH_STATE: usize = 1024;
export const HASHER_SCRATCH: usize = 2048;
