/** placeholder until the command line */
export {};
