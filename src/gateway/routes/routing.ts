import { ConfigError } from '../../core/index.js'
import type { CheckedGatewayOptions } from '../options.js'
import type { StackView } from '../stack-view.js'
import { guideRoutes } from './guide.js'
import { healthRoutes } from './health.js'
import { openAIRoutes } from './openai.js'
import type { Route } from './route.js'

/** Clients of OpenAI's API ask below this path. */
const OPENAI = '/v1/'

/** Below these a slash at the end of a path does not matter: some clients always add one. */
const WITH_OR_WITHOUT_SLASH = [OPENAI, '/generate/']

/** The routes that exist, found by path and method. */
export class Routing {
  readonly all: readonly Route[]
  readonly #prefix: string
  /** Methods and paths below `/v1/`. */
  readonly #openAI: readonly string[]
  readonly #byPath = new Map<string, Route[]>()

  constructor({ prefix, routes }: CheckedGatewayOptions, view: StackView, more: readonly Route[]) {
    this.#prefix = prefix
    const known = [...guideRoutes, ...healthRoutes(), ...openAIRoutes, ...more]
    for (const name of routes ?? []) {
      const needs = known.find((route) => route.name === name)?.needs
      if (needs && !view.has(needs))
        throw new ConfigError(
          `createGateway: the route "${name}" needs a ${needs} layer, and there is none in the stack.`,
        )
    }
    this.all = known.filter(
      (route) =>
        (routes === undefined || routes.includes(route.name)) &&
        (route.needs === undefined || view.has(route.needs)),
    )
    for (const route of this.all)
      this.#byPath.set(route.path, [...(this.#byPath.get(route.path) ?? []), route])
    this.#openAI = this.all
      .filter(({ path }) => path.startsWith(OPENAI))
      .map(({ method, path }) => `${method} ${path}`)
  }

  /**
   * The path below the prefix, exactly as received: no decoding, no tidying up, so that nothing
   * slips past a guard.
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
    const exact = hasSlash ? path.slice(0, -1) : path
    return this.#byPath.get(exact) ?? this.#byPath.get(exact.replace(/[^/]+$/, '{id}')) ?? []
  }

  /**
   * Whether the gateway answers at a path, even if only with a 404. Below `/v1/` it always does: a
   * client of OpenAI's API cannot read a framework's error page.
   */
  answersAt(path: string | undefined): boolean {
    return this.at(path).length > 0 || this.#isOpenAI(path)
  }

  /** The sentence for a path without a route. */
  notFound(path: string | undefined): string {
    const sentence = 'There is no such route.'
    return this.#isOpenAI(path) ? `${sentence} Use one of: ${this.#openAI.join(', ')}.` : sentence
  }

  #isOpenAI(path: string | undefined): boolean {
    return this.#openAI.length > 0 && path?.startsWith(OPENAI) === true
  }
}
