export type { BatchOptions, BatchOutcome, BatchProgress } from './batch/index.js'
export { type Blossom, type BlossomLayer, type BlossomOptions, createBlossom } from './client.js'
export {
  AuthenticationError,
  BlossomError,
  InvalidRequestError,
  NetworkError,
  NotFoundError,
  PaymentRequiredError,
  PermissionError,
  ProtocolError,
  StreamError,
  TooLargeError,
  UpstreamError,
} from './errors.js'
export type * from './types.js'
