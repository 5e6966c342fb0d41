import { StackError } from '../../core/index.js'

/** The server that ran a stream has gone before its end. */
export const ownerLost = () =>
  new StackError('The server that ran this stream was lost before its end. Ask again.', {
    code: 'OWNER_LOST',
    status: 502,
    retryable: true,
  })

/** A client has stopped the stream by `DELETE`. */
export const stoppedByClient = () =>
  new StackError('This stream was stopped by its client.', { code: 'STOPPED', status: 409 })

/** Nobody has read the stream for as long as it goes on without readers. */
export const abandoned = (ms: number) =>
  new StackError(`This stream was stopped, as no client was connected for ${ms} ms.`, {
    code: 'STOPPED',
    status: 409,
  })

/** What comes next for a client was forgotten while it read. */
export const fellBehind = () =>
  new StackError('The client read so slowly that what comes next is no longer kept.', {
    code: 'STREAM',
    status: 502,
  })

/** A stream has ended early, and nothing tells why. */
export const interrupted = () =>
  new StackError('This stream ended before its answer was complete.', {
    code: 'STREAM',
    status: 502,
  })
