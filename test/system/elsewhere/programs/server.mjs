/** A whole server, to be bundled without the optional peers. Prints what came of it. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import {
  attachWebSocket,
  blossomFromEnv,
  createGateway,
  gatewayOptionsFromEnv,
  toNode,
} from 'blossom-stack/http'
import { startLocalBlossom } from 'blossom-stack/testing'

async function main() {
  const warnings = []
  process.on('warning', ({ message }) => warnings.push(message))

  const upstream = await startLocalBlossom()
  const env = {
    POLLINATIONS_API_KEY: 'sk_test',
    BLOSSOM_BASE_URL: upstream.url,
    REDIS_URL: 'redis://127.0.0.1:1',
    LOG_LEVEL: 'silent',
  }
  const blossom = blossomFromEnv(env)
  const gateway = createGateway(blossom, gatewayOptionsFromEnv(env))
  const server = createServer(toNode(gateway)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const sockets = attachWebSocket(server, gateway)
  const webSocket = await sockets.ready.catch((error) => `${error.name}: ${error.message}`)

  const url = `http://127.0.0.1:${server.address().port}`
  const ask = async (path, body) => {
    const answer = await fetch(url + path, {
      headers: { 'content-type': 'application/json' },
      ...(body && { method: 'POST', body: JSON.stringify(body) }),
    })
    return { status: answer.status, text: await answer.text() }
  }
  const messages = [{ role: 'user', content: 'Hello' }]
  const chat = await ask('/v1/chat/completions', { messages })
  const stream = await ask('/v1/chat/completions', { messages, stream: true })
  const docs = await ask('/docs')

  server.close()
  server.closeAllConnections()
  await gateway.close()
  await blossom.close()
  await upstream.close()
  console.log(
    JSON.stringify({
      chat: chat.status,
      streamed: stream.text.endsWith('data: [DONE]\n\n'),
      docs: [docs.status, JSON.parse(docs.text).detail],
      webSocket,
      warnings,
    }),
  )
}

main()
