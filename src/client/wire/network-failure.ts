import {
  ClosedError,
  isError,
  isRecord,
  isStackError,
  type StackError,
  TimeoutError,
} from '../../core/index.js'
import { NetworkError, ProtocolError } from '../errors.js'

const TLS = /^(UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|CERT_|ERR_TLS_CERT|HOSTNAME_MISMATCH|INVALID_CA)/
/** Time limits of undici, each with what was late. */
const TIMED_OUT: Readonly<Record<string, string>> = {
  UND_ERR_CONNECT_TIMEOUT: 'The connection to upstream was not made in time.',
  UND_ERR_HEADERS_TIMEOUT: 'Upstream did not start to answer in time.',
  UND_ERR_BODY_TIMEOUT: 'Upstream stopped sending its answer.',
}

/**
 * Converts an error of undici or of the system to one of this library's errors.
 * @param origin where the request was sent
 */
export function networkFailure(error: unknown, origin: string): StackError {
  // The source of the request body failed, with one of this library's errors.
  if (isStackError(error)) return error
  const code = isRecord(error) && typeof error.code === 'string' ? error.code : ''
  // The parser's error contains the invalid bytes, so only its message is kept. It may have no
  // code.
  if (isError(error) && error.name === 'HTTPParserError') {
    return new ProtocolError("Upstream's answer is not valid HTTP.", {
      cause: new Error(error.message),
    })
  }
  const late = Object.hasOwn(TIMED_OUT, code) ? TIMED_OUT[code] : undefined
  // undici does not report its limit, so the default message would name 0 ms.
  if (late !== undefined)
    return Object.assign(new TimeoutError(0, { cause: error }), { message: late })
  if (code === 'UND_ERR_DESTROYED' || code === 'UND_ERR_CLOSED')
    return new ClosedError('The connection pool is closed.', { refused: false })
  if (
    code === 'UND_ERR_HEADERS_OVERFLOW' ||
    code.startsWith('UND_ERR_RES') ||
    code === 'UND_ERR_INVALID_RETURN_VALUE'
  ) {
    return new ProtocolError(`Upstream's answer is not valid HTTP (${code}).`, {
      cause: error,
      retryable: code !== 'UND_ERR_HEADERS_OVERFLOW',
    })
  }
  const host = origin.replace(/^https?:\/\//, '')
  if (TLS.test(code))
    return new NetworkError(
      `The TLS connection to ${host} failed (${code}). Check its certificate.`,
      {
        cause: error,
        retryable: false,
      },
    )
  return new NetworkError(
    `No answer arrived from ${host}${code === '' ? '' : ` (${code})`}: the connection could not be made, or it broke. Check the network and option "baseURL".`,
    { cause: error },
  )
}
