export {
  type ErrorShape,
  type Fault,
  type LocalBlossom,
  type LocalBlossomOptions,
  type LocalBlossomRequest,
  type PerRequest,
  startLocalBlossom,
} from './local-blossom.js'
