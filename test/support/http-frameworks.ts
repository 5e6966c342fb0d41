import { once } from 'node:events'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import { bodyParser } from '@koa/bodyparser'
import compression from 'compression'
import express, { type ErrorRequestHandler } from 'express'
import { Hono, type Context as HonoContext } from 'hono'
import { compress } from 'hono/compress'
import Koa from 'koa'
import { type Gateway, toNode, toRequest } from '../../src/gateway/index.js'

/** What stands around the gateway in the owner's application. */
export interface Surroundings {
  /**
   * The framework's usual body parser, mounted before the gateway; what it made of the body is
   * handed over, or forgotten.
   */
  parser?: 'handed over' | 'forgotten' | undefined
  /** Path under which the gateway is mounted. */
  mount?: string | undefined
  /**
   * The owner's error handler: told of every error that reaches the framework, and answers 500
   * `owner`.
   */
  onError?: ((error: unknown) => void) | undefined
  compression?: boolean | undefined
  /**
   * Puts the caller's `x-user` where the framework keeps such things, as an authentication would.
   */
  authentication?: boolean | undefined
  /** Headers that a middleware sets on every answer before the gateway runs. */
  headers?: Readonly<Record<string, string>> | undefined
}

type AnyGateway = Gateway<never>

export interface Framework {
  readonly name: 'Express' | 'Koa' | 'Hono'
  /** The gateway's option `prefix` under a mount. */
  prefix(mount: string): string
  /** Who the authentication says it is. */
  userOf(platform: unknown): string | undefined
  /** What the parser has made of the body, for the option `body`. */
  bodyOf(platform: unknown): unknown
  listener(gateway: AnyGateway, around: Surroundings): RequestListener
}

interface NodePlatform {
  req: IncomingMessage & { user?: string; body?: unknown }
  res: ServerResponse
}

const userHeader = (value: string | string[] | undefined): string | undefined =>
  Array.isArray(value) ? value[0] : value

export const ExpressFramework: Framework = {
  name: 'Express',
  // `app.use` takes the mount off the URL.
  prefix: () => '',
  userOf: (platform) => (platform as NodePlatform).req.user,
  bodyOf: (platform) => (platform as NodePlatform).req.body,
  listener(
    gateway,
    { parser, mount = '/', onError, compression: compresses, authentication, headers },
  ) {
    const app = express().disable('x-powered-by')
    const serve = toNode(gateway)
    if (compresses) app.use(compression())
    if (headers) app.use((_, res, next) => void next(void res.set(headers)))
    if (authentication) {
      app.use((req, _, next) => {
        Object.assign(req, { user: userHeader(req.headers['x-user']) })
        next()
      })
    }
    if (parser) app.use(express.json({ limit: '2mb' }))
    if (parser === 'forgotten') {
      app.use((req, _, next) => {
        req.body = undefined
        next()
      })
    }
    app.use(mount, serve)
    if (mount === '/') app.use((req, res) => serve(req, res))
    else app.use((_, res) => void res.status(404).send('owner'))
    const handler: ErrorRequestHandler = (error, _, res, next) => {
      onError?.(error)
      if (res.headersSent) next(error)
      else res.status(error.status ?? 500).send('owner')
    }
    app.use(handler)
    return app
  },
}

export const KoaFramework: Framework = {
  name: 'Koa',
  prefix: (mount) => mount,
  userOf: (platform) => (platform as Koa.Context).state.user,
  bodyOf: (platform) => (platform as Koa.Context).request.body,
  listener(
    gateway,
    { parser, mount = '', onError, compression: compresses, authentication, headers },
  ) {
    const app = new Koa()
    app.on('error', () => {})
    app.use(async (ctx, next) => {
      try {
        await next()
      } catch (error) {
        onError?.(error)
        ctx.status = (error as { status?: number }).status ?? 500
        ctx.body = 'owner'
      }
    })
    if (compresses) {
      const compressor = compression()
      app.use(
        (ctx, next) =>
          new Promise((resolve, reject) =>
            compressor(ctx.req as never, ctx.res as never, () => next().then(resolve, reject)),
          ),
      )
    }
    if (headers) {
      app.use((ctx, next) => {
        ctx.set(headers)
        return next()
      })
    }
    if (authentication) {
      app.use((ctx, next) => {
        ctx.state.user = userHeader(ctx.headers['x-user'])
        return next()
      })
    }
    if (parser) app.use(bodyParser({ jsonLimit: '2mb' }))
    app.use(async (ctx, next) => {
      if (!ctx.path.startsWith(mount)) return next()
      ctx.body = await gateway(
        toRequest(ctx.req, ctx.res, parser === 'forgotten' ? {} : { body: ctx.request.body }),
        ctx as never,
      )
    })
    return app.callback()
  },
}

type Variables = { Variables: { user: string | undefined; body: unknown } }

const HonoFramework: Framework = {
  name: 'Hono',
  prefix: (mount) => mount,
  userOf: (platform) => (platform as HonoContext<Variables>).get('user'),
  bodyOf: (platform) => (platform as HonoContext<Variables>).get('body'),
  listener(
    gateway,
    { parser, mount = '', onError, compression: compresses, authentication, headers },
  ) {
    const app = new Hono<Variables>()
    if (compresses) app.use(compress())
    if (headers) {
      app.use(async (c, next) => {
        await next()
        for (const [name, value] of Object.entries(headers)) c.header(name, value)
      })
    }
    if (authentication) {
      app.use((c, next) => {
        c.set('user', c.req.header('x-user'))
        return next()
      })
    }
    if (parser) {
      app.use(async (c, next) => {
        const body = /^application\/json/.test(c.req.header('content-type') ?? '')
          ? await c.req.json()
          : undefined
        if (parser === 'handed over') c.set('body', body)
        return next()
      })
    }
    app.all(`${mount}/*`, (c) => gateway(c.req.raw, c as never))
    app.onError((error, c) => {
      onError?.(error)
      return c.text('owner', 500)
    })
    return getRequestListener(app.fetch)
  },
}

export const frameworks: readonly Framework[] = [ExpressFramework, KoaFramework, HonoFramework]

export interface Running {
  readonly url: string
  readonly server: Server
  close(): Promise<void>
}

/** Listens on a free port of the loopback. */
export async function listen(listener: RequestListener): Promise<Running> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    server,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** A server for the time of a test. */
export async function serving(listener: RequestListener) {
  const running = await listen(listener)
  return { ...running, [Symbol.asyncDispose]: () => running.close() }
}
