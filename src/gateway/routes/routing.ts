import { ConfigError } from '../../core/index.js'
import type { CheckedGatewayOptions } from '../options.js'
import type { StackView } from '../stack-view.js'
import { guideRoutes } from './guide.js'
import { healthRoutes } from './health.js'
import { openAIRoutes } from './openai.js'
import type { Route } from './route.js'

/** The routes that exist, found by path and method. */
export class Routing {
  readonly all: readonly Route[]
  readonly #prefix: string
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
    return (path !== undefined && this.#byPath.get(path)) || []
  }
}
