import type { Row } from './row.js'

/** A row whose outcome is of a kind; what it says itself goes first. */
export type Partly = Partial<Row> & Pick<Row, 'fault'>

/** What breaks the connection: it is tried three times, and each time speaks against upstream. */
export const network = (row: Partly): Row => ({
  ends: 'NETWORK',
  requests: 3,
  breaker: { failures: 3 },
  ...row,
})
/** What is no HTTP. */
export const protocol = (row: Partly): Row => ({ ...network(row), ends: 'PROTOCOL' })
/** What comes too late. */
export const late = (row: Partly): Row => ({ ...network(row), ends: 'TIMEOUT', clock: true })
/** What is unusual, and right. */
export const fine = (row: Partly): Row => ({
  ends: 'answer',
  requests: 1,
  breaker: { successes: 1 },
  ...row,
})
