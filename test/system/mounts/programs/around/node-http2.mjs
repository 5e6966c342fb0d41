import { serve } from '../recipes/node-http2.mjs'
import { listening, setRequestId } from './operator.mjs'

export function start({ blossom, options }) {
  const { TLS_KEY: key, TLS_CERT: cert } = process.env
  const server = serve(blossom, { ...options, key, cert })
  server.prependListener('request', setRequestId)
  return listening(server)
}
