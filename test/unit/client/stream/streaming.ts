import { httpServer } from '../../../support/bare-server.js'
import { turn } from '../../../support/watch.js'

export const SSE = { 'content-type': 'text/event-stream' }

/** A server that sends these bytes as an event stream, cut as they are listed, and ends. */
export const streaming = (...pieces: readonly (string | Uint8Array)[]) =>
  httpServer(async (_request, response) => {
    response.writeHead(200, SSE)
    for (const piece of pieces) {
      response.write(piece)
      if (pieces.length > 1) await turn()
    }
    response.end()
  })
