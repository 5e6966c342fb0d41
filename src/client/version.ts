/** This package's version, for the `user-agent` header. */
export const VERSION = '0.1.0'
