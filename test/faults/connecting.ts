import type { Socket } from 'node:net'
import { Agent, buildConnector } from 'undici'
import { CERTIFICATES, type CertificateName } from '../support/certificates.js'
import { reset, silent } from '../support/fault-plays.js'
import type { FaultUpstream } from '../support/fault-upstream.js'
import { goodAnswer } from '../support/good-answers.js'
import { inventNames } from '../support/names.js'
import type { Group, Method, Row } from './row.js'
import type { Scene } from './scene.js'

const THREE = { requests: 0, attempts: 3, breaker: { failures: 3 } } as const

export const names = inventNames()

/** A name that cannot be looked up, until it can. */
const lookup = (
  meaning: 'ENOTFOUND' | 'EAI_AGAIN' | 'never',
  rest: Pick<Row, 'ends'> & Partial<Row>,
): Row => {
  const host = `${meaning.toLowerCase().replace('_', '-')}.invalid`
  return {
    fault:
      meaning === 'never' ? 'the name lookup never ends' : `the name is not found (${meaning})`,
    ...THREE,
    baseURL: ({ url }) => url.replace('127.0.0.1', host),
    before: ({ upstream }) => names.name(host, meaning, () => upstream.reached++),
    after: () => names.name(host, 'here'),
    ...rest,
  }
}

const authorities = [CERTIFICATES.good, CERTIFICATES.elsewhere, CERTIFICATES.expired].map(
  ({ cert }) => cert,
)
const secure = {
  secure: true,
  dispatcher: () => new Agent({ connections: 1, connect: { ca: authorities } }),
} as const

const certificate = (name: CertificateName, fault: string, code: string): Row => ({
  fault,
  ...secure,
  before: ({ upstream }) => upstream.certificate(name),
  ends: 'NETWORK',
  error: { retryable: false, cause: { code } },
  requests: 0,
  attempts: 1,
  breaker: { failures: 1 },
})

/** A connection that is never made, until it is. */
function neverConnected(): Row {
  const connect = buildConnector({})
  let broken = true
  const waiting: (() => void)[] = []
  const dispatcher = (upstream: FaultUpstream) =>
    new Agent({
      connections: 1,
      connect: (options, done) => {
        if (!broken) return connect(options, done)
        upstream.reached++
        waiting.push(() => connect(options, done))
      },
    })
  return {
    fault: 'the connection is never made',
    ...THREE,
    clock: true,
    dispatcher,
    after: () => {
      broken = false
      for (const go of waiting) go()
    },
    ends: 'TIMEOUT',
  }
}

/** A call before the one that counts leaves its connection behind. */
const afterAnother = {
  act: async (scene: Scene) => {
    await scene.ask('text.generate', `${scene.token}.before`)
    return scene.ask('text.generate', scene.token)
  },
  ends: 'answer',
  requests: 3,
  breaker: { failures: 1, successes: 2 },
} as const

const plain = {
  accept: (socket: Socket) => socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n'),
} as const

const refused = (call: Method): Row => ({
  fault: 'the connection is refused',
  call,
  before: ({ upstream }) => upstream.down(),
  after: ({ upstream }) => upstream.up(),
  ends: 'NETWORK',
  error: { retryable: true, status: 502, cause: { code: 'ECONNREFUSED' } },
  ...THREE,
})

export const connecting: Group = {
  title: 'Connecting',
  rows: [
    refused('text.generate'),
    refused('text.stream'),
    refused('image.generate'),
    neverConnected(),
    {
      fault: 'the connection is reset when it is made',
      accept: (socket) => socket.resetAndDestroy(),
      ends: 'NETWORK',
      ...THREE,
    },
    {
      fault: 'the connection is closed when it is made',
      accept: (socket) => socket.end(),
      ends: 'NETWORK',
      ...THREE,
    },
    {
      fault: 'the connection is made and nothing is sent',
      accept: () => {},
      clock: true,
      ends: 'TIMEOUT',
      ...THREE,
    },
    {
      fault: 'the connection is made and nothing is sent',
      call: 'text.stream',
      accept: () => {},
      clock: true,
      ends: 'TIMEOUT',
      error: { phase: 'first-token' },
      ...THREE,
    },
    {
      fault: 'nothing is sent, and the caller has a deadline of 15 s',
      options: { timeoutMs: 15_000 },
      accept: () => {},
      clock: true,
      ends: 'TIMEOUT',
      requests: 0,
      attempts: 2,
      breaker: { failures: 2 },
    },
    {
      fault: 'upstream first sends another protocol',
      accept: (socket) => socket.write('SSH-2.0-OpenSSH_9.2\r\n'),
      ends: 'PROTOCOL',
      ...THREE,
    },
    {
      fault: 'upstream uses TLS instead of HTTP',
      accept: (socket) => socket.end(Buffer.from('15030100020246', 'hex')),
      ends: 'PROTOCOL',
      ...THREE,
    },
    {
      fault: 'a reused connection is reset',
      play: [goodAnswer, reset],
      ...afterAnother,
    },
    lookup('ENOTFOUND', { ends: 'NETWORK', error: { cause: { code: 'ENOTFOUND' } } }),
    lookup('EAI_AGAIN', { ends: 'NETWORK', error: { cause: { code: 'EAI_AGAIN' } } }),
    lookup('never', { ends: 'TIMEOUT', clock: true }),
    certificate('unknown', 'the certificate is self-signed', 'DEPTH_ZERO_SELF_SIGNED_CERT'),
    certificate('elsewhere', 'the certificate is for another host', 'ERR_TLS_CERT_ALTNAME_INVALID'),
    certificate('expired', 'the certificate has expired', 'CERT_HAS_EXPIRED'),
    {
      fault: 'upstream uses plain HTTP instead of TLS',
      ...secure,
      ...plain,
      ends: 'NETWORK',
      ...THREE,
    },
    {
      fault: 'the connection is reset during the TLS handshake',
      ...secure,
      accept: (socket) => socket.resetAndDestroy(),
      ends: 'NETWORK',
      ...THREE,
    },
    {
      fault: 'the connection is closed during the TLS handshake',
      ...secure,
      accept: (socket) => socket.end(),
      ends: 'NETWORK',
      ...THREE,
    },
    {
      fault: 'the TLS handshake gets no answer',
      ...secure,
      accept: () => {},
      after: ({ upstream }) => upstream.cut(),
      clock: true,
      ends: 'TIMEOUT',
      ...THREE,
    },
    {
      fault: 'a reset under TLS',
      ...secure,
      play: reset,
      ends: 'NETWORK',
      requests: 3,
      breaker: { failures: 3 },
    },
    {
      fault: 'silence under TLS',
      ...secure,
      play: silent,
      clock: true,
      ends: 'TIMEOUT',
      requests: 3,
      breaker: { failures: 3 },
    },
  ],
}
