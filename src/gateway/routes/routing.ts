import { ConfigError } from '../../core/index.js'
import type { CheckedGatewayOptions } from '../options.js'
import type { StackView } from '../stack-view.js'
import { guideRoutes } from './guide.js'
import { healthRoutes } from './health.js'
import { openAIRoutes } from './openai.js'
import type { Route } from './route.js'

/** Prefix of the OpenAI-compatible routes. */
const OPENAI = '/v1/'

/** Below these paths a trailing slash is ignored, because some clients always add one. */
const WITH_OR_WITHOUT_SLASH = [OPENAI, '/generate/']

/** The placeholder in a route's path. */
const ID = '{id}'

/** A pattern for the paths of a route. */
function patternOf({ path, idHasSlashes }: Route): RegExp {
  const pattern = path
    .replace(/[.*+?^$()|[\]\\]/g, '\\$&')
    .replace(ID, idHasSlashes ? '(.+?)' : '([^/]+)')
  return new RegExp(`^${pattern}/?$`)
}

/** Finds the served routes by path and method. */
export class Routing {
  readonly all: readonly Route[]
  readonly #prefix: string
  /** Methods and paths of the routes below `/v1/`. */
  readonly #openAI: readonly string[]
  /** Path of the responses route, if it is served. */
  readonly #responses: string | undefined
  readonly #byPath = new Map<string, Route[]>()
  /** Patterns of the paths with `{id}`. */
  readonly #patterns = new Map<string, RegExp>()

  constructor({ prefix, routes }: CheckedGatewayOptions, view: StackView, more: readonly Route[]) {
    this.#prefix = prefix
    const known = [...guideRoutes, ...healthRoutes(), ...openAIRoutes, ...more]
    for (const name of routes ?? []) {
      const needs = known.find((route) => route.name === name)?.needs
      if (needs && !view.has(needs))
        throw new ConfigError(
          `createGateway: the route "${name}" needs a ${needs} layer. Add one to the stack.`,
        )
    }
    this.all = known.filter(
      (route) =>
        (routes === undefined || routes.includes(route.name)) &&
        (route.needs === undefined || view.has(route.needs)),
    )
    for (const route of this.all) {
      const { path } = route
      if (path.includes(ID)) this.#patterns.set(path, patternOf(route))
      this.#byPath.set(path, [...(this.#byPath.get(path) ?? []), route])
    }
    this.#responses = this.all.find(({ name }) => name === 'v1-responses')?.path
    this.#openAI = this.all
      .filter(({ path }) => path.startsWith(OPENAI))
      .map(({ method, path }) => `${method} ${path}`)
  }

  /**
   * The path after the prefix, as received. It is not decoded or normalized, so that no path can
   * bypass a check in front of the gateway.
   */
  pathOf(target: string): string | undefined {
    const [path = ''] = target.split('?', 1)
    return path.startsWith(this.#prefix) ? path.slice(this.#prefix.length) : undefined
  }

  /** The routes at a path, one for each method; empty for an unknown one. */
  at(path: string | undefined): readonly Route[] {
    if (path === undefined) return []
    const hasSlash =
      path.endsWith('/') && WITH_OR_WITHOUT_SLASH.some((beginning) => path.startsWith(beginning))
    const asked = hasSlash ? path.slice(0, -1) : path
    const found = this.#byPath.get(asked)
    if (found !== undefined) return found
    for (const [named, pattern] of this.#patterns)
      if (pattern.test(asked)) return this.#byPath.get(named) ?? []
    return []
  }

  /** The part of a request's path at `{id}`; empty if the route has none. */
  idOf({ path }: Route, target: string): string {
    const [, id = ''] = this.#patterns.get(path)?.exec(this.pathOf(target) ?? '') ?? []
    try {
      return decodeURIComponent(id)
    } catch {
      // Invalid encoding: no stored id can match.
      return id
    }
  }

  /**
   * Whether the gateway answers at a path, possibly with 404. Below `/v1/` it always does, because
   * OpenAI clients cannot read a framework's error page.
   */
  answersAt(path: string | undefined): boolean {
    return this.at(path).length > 0 || this.#isOpenAI(path)
  }

  /** The message for a path without a route. */
  notFound(path: string | undefined): string {
    const sentence = 'There is no such route.'
    if (this.#responses !== undefined && path?.startsWith(`${this.#responses}/`))
      return `Responses are not stored here, so none can be fetched or deleted. Send the whole conversation to POST ${this.#responses}.`
    return this.#isOpenAI(path) ? `${sentence} Use one of: ${this.#openAI.join(', ')}.` : sentence
  }

  #isOpenAI(path: string | undefined): boolean {
    return this.#openAI.length > 0 && path?.startsWith(OPENAI) === true
  }
}
