import { describe, expect, it } from 'vitest'
import { modulesBelow } from './modules.js'

/** Classes of the language and the platform, of which another realm has its own. */
const BUILT_IN =
  /instanceof (\w*Error|Promise|Map|Date|RegExp|Object|Array|Uint8Array|Buffer|ArrayBuffer|\w*Stream|Response|Request|Headers|URL\w*|AbortSignal|Blob|Function)\b/g

/** Our own, whose `instanceof` holds for another copy, or which fall back to a shape. */
const OURS =
  /^instanceof (StackError|\w*(Timeout|Config|Network|Validation|TooLarge|Fields)Error|Stream)$/

describe('src', () => {
  it('asks for the shape of what may come from another realm, never for its class alone', () => {
    const found = modulesBelow('src')
      .filter(({ path }) => path !== 'src/core/shape.ts')
      .flatMap(({ path, text }) =>
        [...text.matchAll(BUILT_IN)]
          .map(([use]) => use)
          .filter((use) => !OURS.test(use))
          .map((use) => `${path}: ${use}`),
      )
    expect(found).toEqual([])
  })
})
