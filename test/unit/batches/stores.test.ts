import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe } from 'vitest'
import { type Batches, createBatches } from '../../../src/batches/index.js'
import { filesContract } from '../../support/batch-files-contract.js'
import { batchesContract, type MakeBatches } from '../../support/batches-contract.js'

const opened: Batches[] = []
let folder: string
let made: Batches | undefined
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'blossom-batches-'))
  made = undefined
})
afterEach(async () => {
  for (const batches of opened.splice(0)) await batches.close({ timeoutMs: 0 })
  rmSync(folder, { recursive: true, force: true })
})

/** All that one test makes are the same: memory and a directory belong to one process. */
const making =
  (options: () => object): MakeBatches =>
  (blossom, more) => {
    if (made === undefined) {
      made = createBatches(blossom, { ...options(), ...more })
      opened.push(made)
    }
    return made
  }

describe('in memory', () => {
  batchesContract(() => making(() => ({})))
  filesContract(() => making(() => ({})))
})

describe('in a directory', () => {
  batchesContract(() => making(() => ({ directory: join(folder, 'a', 'b') })))
  filesContract(() => making(() => ({ directory: folder })))
})
