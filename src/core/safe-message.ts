import type { StackError } from './errors.js'

/** What clients see of an error from outside this library. */
export const UNEXPECTED = 'An unexpected error occurred.'
const UNAVAILABLE = 'The service is currently unavailable.'
const UNREACHABLE = 'The connection to upstream failed.'

/** Codes that, with status 502 or 503, concern the server's own account. */
const ACCOUNT: readonly string[] = ['AUTH', 'PAYMENT', 'FORBIDDEN']

/** The message of an error for a client, who need not know the server's options, hosts and account. */
export function safeMessageOf({ code, status, message }: StackError): string {
  // An invalid option is the operator's mistake, and the message quotes the option's value.
  if (code === 'CONFIG') return UNEXPECTED
  // The message names the host, which may be an internal one.
  if (code === 'NETWORK') return UNREACHABLE
  if (ACCOUNT.includes(code) && status >= 500) return UNAVAILABLE
  return message
}
