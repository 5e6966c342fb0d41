// A bare upstream in a process of its own: its work must not be counted as the client's.
import { createServer } from 'node:http'

const answer = JSON.stringify({
  id: 'x',
  object: 'chat.completion',
  created: 1,
  model: 'openai',
  choices: [{ index: 0, message: { role: 'assistant', content: 'Hello there, how may I help you today?' }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 1, completion_tokens: 9, total_tokens: 10 },
})
const chunk = `data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"openai","choices":[{"index":0,"delta":{"content":"word "},"finish_reason":null}]}\n\n`
const last = `data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"openai","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n`

const server = createServer((request, response) => {
  let body = ''
  request.setEncoding('utf8')
  request.on('data', (part) => {
    body += part
  })
  request.on('end', () => {
    if (!body.includes('"stream":true')) {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(answer) })
      return response.end(answer)
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    for (let i = 0; i < 20; i++) response.write(chunk.repeat(10))
    response.end(last)
  })
})
server.keepAliveTimeout = 60_000
server.listen(0, '127.0.0.1', () => process.send?.(server.address().port))
process.on('disconnect', () => process.exit(0))
