import type { Fault } from 'blossom-stack/testing'

/**
 * Every way in which a call can fail: the fault upstream, and the status and code that a client
 * gets. Needs no network and no waiting.
 */
export const failures: readonly {
  name: string
  fault: Fault
  status: number
  code: string
  retryAfter?: string
}[] = [
  {
    name: 'upstream finds the question wrong',
    fault: { status: 400 },
    status: 400,
    code: 'BAD_REQUEST',
  },
  { name: 'our key is wrong', fault: { status: 401 }, status: 502, code: 'AUTH' },
  { name: 'our account is empty', fault: { status: 402 }, status: 503, code: 'PAYMENT' },
  { name: 'our key may not do that', fault: { status: 403 }, status: 502, code: 'FORBIDDEN' },
  { name: 'there is no such model', fault: { status: 404 }, status: 404, code: 'NOT_FOUND' },
  {
    name: 'upstream limits our rate',
    fault: { status: 429, retryAfter: 7 },
    status: 429,
    code: 'RATE_LIMITED',
    retryAfter: '7',
  },
  { name: 'upstream fails', fault: { status: 500 }, status: 502, code: 'SERVER' },
  {
    name: 'upstream is overloaded',
    fault: { status: 503, retryAfter: 3 },
    status: 503,
    code: 'SERVER',
    retryAfter: '3',
  },
  {
    name: 'the connection breaks',
    fault: { resetBeforeHeaders: true },
    status: 502,
    code: 'NETWORK',
  },
  { name: 'upstream never answers', fault: { hang: true }, status: 504, code: 'TIMEOUT' },
  {
    name: 'upstream answers with a web page',
    fault: { json: 'html' },
    status: 502,
    code: 'PROTOCOL',
  },
  {
    name: 'upstream answers with half of it',
    fault: { json: 'truncated' },
    status: 502,
    code: 'PROTOCOL',
  },
]
