import { createGateway } from '../../../../src/gateway/gateway.js'
import { createBlossom, standard } from '../../../../src/index.js'
import { startLocalBlossom } from '../../../../src/testing/index.js'
import { contractOf } from '../../../support/openapi.js'

export const adminToken = 'only-for-these-tests'
export const PROMPT = { prompt: 'Why do flowers bloom?' }

/** A gateway with nearly all routes, before an upstream of its own, and what its document says. */
export async function openDocumented() {
  const upstream = await startLocalBlossom({ reply: () => 'To be seen.', keys: ['good'] })
  const blossom = createBlossom({ baseURL: upstream.url, apiKey: 'good' }).use(...standard())
  const gateway = createGateway(blossom, {
    adminToken,
    bodyLimit: 20_000,
    mediaBodyLimit: 20_000,
    streams: true,
    metrics: true,
  })
  const contract = await contractOf(gateway)
  const close = async () => {
    await blossom.close()
    await upstream.close()
  }
  return { upstream, blossom, gateway, contract, close }
}
