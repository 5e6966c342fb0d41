import { describe } from 'vitest'
import { nodeFrom } from '../../support/node-versions.js'
import { type Client, testClients } from './suite.js'

const http = ['chat', 'stream', 'leave', 'embeddings'] as const
const sdk = [...http, 'tools', 'streamTools'] as const
const withoutEmbeddings = [...sdk, 'structure' as const].filter((step) => step !== 'embeddings')

const clients: readonly Client[] = [
  { program: 'openai', readsErrors: true, steps: [...sdk, 'usage'] },
  { program: 'ai', readsErrors: true, steps: sdk },
  { program: 'langchain', readsErrors: true, steps: sdk },
  { program: 'agents', readsErrors: true, steps: sdk.filter((step) => step !== 'embeddings') },
  ...(['translate', 'forward'] as const).flatMap((responses) =>
    ['openai-responses', 'ai-responses', 'langchain-responses', 'agents-responses'].map(
      (program): Client => ({
        program,
        readsErrors: true,
        steps: withoutEmbeddings,
        responses,
        ...(program === 'langchain-responses' && { missesBreaks: true }),
      }),
    ),
  ),
  { program: 'got', readsErrors: false, steps: http },
  { program: 'ky', readsErrors: false, steps: http },
]

const node = await nodeFrom('22')
describe.skipIf(node === undefined)('on Node 22', () => {
  testClients('clients-node-22', node ?? '', clients)
})
