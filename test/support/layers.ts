import {
  type Context,
  defineLayer,
  type Layer,
  type LayerDefinition,
} from '../../src/core/index.js'

/** A layer that passes everything on and gives the context of the last call. */
export function spy<const Name extends string = 'spy'>(
  name = 'spy' as Name,
  rest: Omit<LayerDefinition<Name, object, unknown, unknown>, 'name' | 'wrap' | 'stats'> = {},
): Layer<Name, { calls: number }> & { readonly context: Context } {
  let calls = 0
  let seen: Context | undefined
  const layer = defineLayer({
    ...rest,
    name,
    wrap: (next) => (request, context) => {
      calls++
      seen = context
      return next(request, context)
    },
    stats: () => ({ calls }),
  })
  return Object.defineProperty(layer, 'context', { get: () => seen }) as unknown as Layer<
    Name,
    { calls: number }
  > & {
    readonly context: Context
  }
}

/** A layer that writes down when a call comes in and when its answer goes out. */
export function traced<const Name extends string>(name: Name, log: string[]): Layer<Name> {
  return defineLayer({
    name,
    wrap: (next) => async (request, context) => {
      log.push(`${name} in`)
      const answer = await next(request, context)
      log.push(`${name} out`)
      return answer
    },
  })
}
