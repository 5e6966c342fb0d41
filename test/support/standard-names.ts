/** The layers of `standard()` without options, from the outside in. */
export const STANDARD_NAMES: readonly string[] = [
  'cache',
  'dedupe',
  'timeout',
  'retry',
  'breaker',
  'queue',
  'attempt',
  'pool',
]
