export { type Between, type ChaosOptions, type ChaosStats, chaos } from './chaos/index.js'
export {
  type LayerContractCase,
  type LayerContractOptions,
  layerContract,
} from './contract/index.js'
export { type FakeClock, fakeClock } from './fake-clock.js'
export {
  type ErrorShape,
  type Fault,
  type LocalBlossom,
  type LocalBlossomOptions,
  type LocalBlossomRequest,
  type PerRequest,
  startLocalBlossom,
} from './local-blossom/index.js'
export {
  type ChunkSource,
  type ChunkSourceOptions,
  chunkSource,
  type Scripted,
  type ScriptedCall,
  type Step,
  scripted,
} from './scripted.js'
