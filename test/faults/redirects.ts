import { expect } from 'vitest'
import { answers } from '../support/fault-plays.js'
import { FaultUpstream, type Play } from '../support/fault-upstream.js'
import type { Group, Row } from './row.js'
import type { Scene } from './scene.js'

/** Where redirects lead: nothing may ever arrive there. */
let other: FaultUpstream
export const openOther = async (): Promise<AsyncDisposable> => {
  other = await FaultUpstream.start()
  return other
}

const nothingElsewhere = () =>
  expect({ connections: other.connections.length, requests: other.requests.length }).toEqual({
    connections: 0,
    requests: 0,
  })

const redirect = (
  status: number,
  rest: Partial<Row> = {},
  location: () => string = () => `${other.url}/x`,
): Row => ({
  fault: `${status} to another origin`,
  play: (line) => answers(status, '', { location: location() })(line),
  ends: 'PROTOCOL',
  error: { retryable: false },
  requests: 1,
  breaker: { failures: 1 },
  also: nothingElsewhere,
  ...rest,
})

/** A picture whose prompt tries to be more than a prompt. */
const prompt = (written: string, of: (scene: Scene) => string): Row => ({
  fault: `an image prompt of the form ${written}`,
  call: 'image.generate',
  ends: 'answer',
  requests: 2,
  breaker: { successes: 2 },
  act: async (scene) => {
    const asked = of(scene)
    await scene.blossom.image.generate(asked)
    const [seen] = scene.upstream.requests
    expect(seen?.path).toBe(`/image/${encodeURIComponent(asked)}?model=flux`)
    expect(seen?.headers.host).toBe(new URL(scene.upstream.url).host)
    nothingElsewhere()
    return scene.ask('image.generate', scene.token)
  },
})

/** Says 503, and where else there would be something. */
const pointing: Play = (line) =>
  answers(503, '', {
    'alt-svc': `h2="${other.url}"`,
    refresh: `0; url=${other.url}`,
    'content-location': other.url,
    link: `<${other.url}>; rel=alternate`,
  })(line)

export const redirects: Group = {
  title: 'Redirects',
  rows: [
    ...[300, 301, 302, 303, 304, 305, 307, 308].map((status) => redirect(status)),
    redirect(307, { call: 'text.stream' }),
    redirect(308, { call: 'chat.create' }),
    redirect(302, { call: 'image.generate' }),
    redirect(307, { fault: '307 to the same URL' }, () => '/v1/chat/completions'),
    redirect(302, { fault: '302 to a file' }, () => 'file:///etc/passwd'),
    redirect(302, { fault: '302 with an empty location' }, () => ''),
    {
      fault: '503 with an alternative address',
      play: [pointing],
      ends: 'answer',
      requests: 2,
      breaker: { failures: 1, successes: 1 },
      also: nothingElsewhere,
    },
    prompt('http://other/x', ({ token }) => `${other.url}/(${token}.p)`),
    prompt('//other/x', ({ token }) => `//${new URL(other.url).host}/(${token}.p)`),
    prompt('a/../../b', ({ token }) => `a/../../v1/(${token}.p)`),
    prompt('?a#b\\c', ({ token }) => `?key=a#b\\c%2f (${token}.p)`),
  ],
}
