import { StackError } from '../../core/index.js'

/** The error if the server that ran a stream was lost before its end. */
export const ownerLost = () =>
  new StackError(
    'The server that ran this stream was lost before the stream ended. Send the request again.',
    {
      code: 'OWNER_LOST',
      status: 502,
      retryable: true,
    },
  )

/** The error if a client stopped the stream by `DELETE`. */
export const stoppedByClient = () =>
  new StackError('This stream was stopped by its client.', { code: 'STOPPED', status: 409 })

/** The error if no client was connected for `graceMs`. */
export const abandoned = (ms: number) =>
  new StackError(`This stream was stopped because no client was connected for ${ms} ms.`, {
    code: 'STOPPED',
    status: 409,
  })

/** The error if the next events of a slow client have been deleted. */
export const fellBehind = () =>
  new StackError('The client read too slowly: the next events are no longer stored.', {
    code: 'STREAM',
    status: 502,
  })

/** The error if a stream ended early for an unknown reason. */
export const interrupted = () =>
  new StackError('This stream ended before its answer was complete.', {
    code: 'STREAM',
    status: 502,
  })
