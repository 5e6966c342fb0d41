/** The gateway by itself, without a framework. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { attachWebSocket, toNode } from 'blossom-stack/http'
import { runServer, type Start } from './program.js'

export const start: Start = async (_, gateway, port, host) => {
  const server = createServer(toNode(gateway))
  attachWebSocket(server, gateway)
  await once(server.listen(port, host), 'listening')
  return server
}

// As a program: node --import tsx examples/node-http.ts
if (process.argv[1] === import.meta.filename) await runServer(start)
