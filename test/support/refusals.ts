import {
  ClosedError,
  ConfigError,
  QueueFullError,
  RateLimitError,
  ValidationError,
} from '../../src/core/index.js'
import { upstreamError } from './upstream.js'

/** Failures of calls that never ran. */
export const REFUSALS = [
  new QueueFullError(1, { retryAfter: 5 }),
  new RateLimitError('ours', { refused: true, retryAfter: 5 }),
  upstreamError('SERVER', { refused: true }),
  new ClosedError(),
  new ValidationError('wrong'),
  new ConfigError('wrong'),
]
