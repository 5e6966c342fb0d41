import { type Client, testClients } from './suite.js'

const http = ['chat', 'stream', 'leave', 'embeddings'] as const
const sdk = [...http, 'tools', 'streamTools'] as const
const responses = [...sdk, 'structure'] as const
const withoutEmbeddings = responses.filter((step) => step !== 'embeddings')

const clients: readonly Client[] = [
  { program: 'openai', readsErrors: true, steps: [...sdk, 'usage'] },
  { program: 'ai', readsErrors: true, steps: sdk },
  { program: 'langchain', readsErrors: true, steps: sdk },
  ...(['translate', 'forward'] as const).flatMap((mode): Client[] => [
    {
      program: 'openai-responses',
      readsErrors: true,
      steps: [...withoutEmbeddings, 'usage'],
      responses: mode,
    },
    { program: 'ai-responses', readsErrors: true, steps: withoutEmbeddings, responses: mode },
    {
      program: 'langchain-responses',
      readsErrors: true,
      steps: withoutEmbeddings,
      responses: mode,
      missesBreaks: true,
    },
  ]),
  { program: 'llamaindex', readsErrors: true, steps: sdk },
  {
    program: 'anthropic',
    readsErrors: true,
    steps: sdk.filter((step) => step !== 'embeddings'),
    convertsForms: false,
  },
  { program: 'eventsource-client', readsErrors: false, steps: ['stream', 'leave'] },
  { program: 'axios', readsErrors: false, steps: http },
  { program: 'got', readsErrors: false, steps: http },
  { program: 'ky', readsErrors: false, steps: http },
]

testClients('clients', process.execPath, clients)
