import compression from 'compression'
import { serve } from '../recipes/node-http.mjs'
import { listening, setRequestId } from './operator.mjs'

export function start({ blossom, options, isFull }) {
  const server = serve(blossom, options)
  if (isFull) {
    const compress = compression()
    server.prependListener('request', (req, res) => {
      setRequestId(req, res)
      compress(req, res, () => {})
    })
  }
  return listening(server)
}
