/** Plain JSON data, as a type. */

/** Any value that JSON has. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
