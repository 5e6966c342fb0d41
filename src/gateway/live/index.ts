import { randomBytes } from 'node:crypto'
import { isBytes } from '../../core/index.js'
import { rejection } from '../rejection.js'
import { guideRoute, type Route, type RouteCall, type RouteTools } from '../routes/route.js'
import { type Incoming, type Reply, unsupported } from '../server/message.js'
import { isToken } from '../token.js'
import { Attempts } from './attempts.js'
import { livePage, loginPage, policyOf } from './page/index.js'
import { SESSION_MS, Sessions } from './sessions.js'
import { Watch, type WatchedGateway } from './watch.js'

const PATH = '/live'
const COOKIE = 'blossom_live'
/** Maximum size of the sign-in form. */
const FORM_BYTES = 4_096

interface LiveGateway extends WatchedGateway, Pick<RouteTools, 'options'> {
  onClose(end: (finished: Promise<void>) => Promise<void>): () => void
}

/**
 * The live page, its sign-in form and its feed. They are served only if there is an admin token.
 */
export function liveRoutes(core: LiveGateway): Route[] {
  const { adminToken, routes } = core.options
  if (adminToken === undefined || routes?.includes('live') === false) return []
  const live = new Live(core, adminToken)
  core.onClose(async () => live.close())
  const route = (method: Route['method'], path: string, handle: Route['handle'], more = {}) =>
    guideRoute(method, path, { name: 'live', anyone: true, handle, ...more })
  const inside = { undocumented: true }
  return [
    route('GET', PATH, async (call) => live.page(call)),
    route('POST', PATH, (call) => live.form(call), inside),
    route('GET', `${PATH}/feed`, async (call) => live.feed(call), inside),
  ]
}

class Live {
  readonly #core: LiveGateway
  readonly #token: string
  readonly #sessions = new Sessions()
  readonly #attempts = new Attempts()
  readonly #watch: Watch

  constructor(core: LiveGateway, token: string) {
    this.#core = core
    this.#token = token
    this.#watch = new Watch(core)
  }

  close(): void {
    this.#watch.close()
  }

  page({ incoming }: RouteCall): Reply {
    if (!this.#sessions.has(cookieOf(incoming))) return html(200, (nonce) => loginPage(nonce))
    return html(200, (nonce) => livePage(nonce, this.#watch.first()))
  }

  feed({ incoming, delivery }: RouteCall): Reply {
    if (!this.#sessions.has(cookieOf(incoming)))
      throw rejection('AUTH', 401, 'Not signed in. Sign in on the live page first.')
    const headers = {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store, no-transform',
      'x-accel-buffering': 'no',
    }
    return { status: 200, headers, events: this.#watch.open(delivery) }
  }

  /** Handles the form: signs in with the token, or signs out. */
  async form({ incoming }: RouteCall): Promise<Reply> {
    const fields = await readForm(incoming)
    if (fields.get('leave') !== null) {
      this.#sessions.end(cookieOf(incoming))
      return this.#redirect(incoming, '', 0)
    }
    const address = incoming.address ?? ''
    const waitMs = this.#attempts.waitOf(address)
    if (waitMs > 0) return tooMany(Math.ceil(waitMs / 1_000))
    if (isToken(fields.get('token') ?? '', this.#token))
      return this.#redirect(incoming, this.#sessions.begin(), SESSION_MS)
    this.#attempts.wrong(address)
    return html(401, (nonce) => loginPage(nonce, 'The admin token is wrong.'))
  }

  /** Redirects to the page, with a cookie for this page only that scripts cannot read. */
  #redirect(incoming: Incoming, id: string, ms: number): Reply {
    const attributes = [
      `${COOKIE}=${id}`,
      `Path=${pathOf(incoming, this.#core.options.publicPath)}`,
      `Max-Age=${ms / 1_000}`,
      'HttpOnly',
      'SameSite=Strict',
      ...(isSecure(incoming) ? ['Secure'] : []),
    ]
    const headers = { location: PATH.slice(1), 'cache-control': 'no-store' }
    return { status: 303, headers, cookies: [attributes.join('; ')] }
  }
}

function html(status: number, make: (nonce: string) => string): Reply {
  const nonce = randomBytes(18).toString('base64')
  return {
    status,
    headers: {
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': policyOf(nonce),
      'cache-control': 'no-store',
      // `pathOf` needs the referrer of the form; other sites never get it.
      'referrer-policy': 'same-origin',
    },
    body: make(nonce),
  }
}

function tooMany(seconds: number): Reply {
  const reply = html(429, (nonce) =>
    loginPage(nonce, `Too many wrong tokens. Try again in ${seconds} s.`),
  )
  return { ...reply, headers: { ...reply.headers, 'retry-after': String(seconds) } }
}

/** @throws StackError with status 415 if the body is not a form */
async function readForm(incoming: Incoming): Promise<URLSearchParams> {
  const type = (incoming.header('content-type') ?? '').split(';', 1)[0]?.trim().toLowerCase()
  if (type !== 'application/x-www-form-urlencoded')
    throw unsupported('Send the token as a form: application/x-www-form-urlencoded.')
  const received = await incoming.read(FORM_BYTES)
  const given = 'bytes' in received ? received.bytes : received.parsed
  // A framework's body parser may have converted the form to text or an object.
  const form = isBytes(given) ? Buffer.from(given as Uint8Array).toString() : given
  return new URLSearchParams(form as string | Record<string, string>)
}

function cookieOf(incoming: Incoming): string | undefined {
  const cookies = (incoming.header('cookie') ?? '').split(';').map((cookie) => cookie.trim())
  const own = cookies.find((cookie) => cookie.startsWith(`${COOKIE}=`))
  return own?.slice(COOKIE.length + 1)
}

/**
 * The path of the page as the browser sees it. A mount or a proxy may have removed a part of it, so
 * the path is taken from the referrer of the form if possible.
 */
function pathOf(incoming: Incoming, publicPath: string): string {
  const referer = incoming.header('referer') ?? ''
  const path = URL.canParse(referer) ? new URL(referer).pathname.replace(/\/$/, '') : ''
  return /^[\w\-.~%/]*\/live$/.test(path) ? path : publicPath + PATH
}

/** Whether the browser uses https, to this server or to a proxy in front of it. */
const isSecure = (incoming: Incoming): boolean =>
  incoming.header('x-forwarded-proto')?.split(',', 1)[0]?.trim() === 'https' ||
  incoming.request.url.startsWith('https:')
