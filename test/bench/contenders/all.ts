import { freshPrompt, perSecond, typical } from '../load.js'
import type { MakeSide } from '../turns.js'
import { PIECES } from '../upstream-answers.js'
import { type Contender, type MakeContender, proven } from './contender.js'
import * as names from './names.js'

/** Each loads only what it needs, since it has a process of its own. */
export const everybody: Readonly<Record<string, () => Promise<MakeContender>>> = {
  [names.RAW]: async () => (await import('./undici.js')).undiciRequest,
  [names.DISPATCH]: async () => (await import('./undici.js')).undiciDispatch,
  [names.PLAIN]: async () => (await import('./ours.js')).plain,
  [names.OURS]: async () => (await import('./ours.js')).full,
  [names.STANDARD]: async () => (await import('./ours.js')).recommended,
  [names.BY_HAND]: async () => (await import('./policies.js')).overByHand,
  [names.COCKATIEL]: async () => (await import('./policies.js')).overCockatiel,
  [names.POLLINATIONS]: async () => (await import('./pollinations.js')).pollinations,
  [names.OPENAI]: async () => (await import('./openai.js')).openai,
  [names.VERCEL]: async () => (await import('./ai.js')).ai,
}

export interface ChatSettings {
  readonly origin: string
  readonly width: number
  /** How long a turn takes. */
  readonly ms: number
  readonly warmUpMs: number
}

/** The contenders as `Processes` runs them. */
export const chatSides: Readonly<Record<string, MakeSide<ChatSettings>>> = Object.fromEntries(
  Object.entries(everybody).map(([name, load]) => [
    name,
    async ({ origin, width, ms, warmUpMs }: ChatSettings) => {
      const contender = await proven(await load(), origin, width)
      const workOf = (kind: string) => works[kind as keyof typeof works](contender)
      return {
        warmUp: (kind: string) => perSecond(width, warmUpMs, workOf(kind)),
        async turn(kind: string) {
          const work = workOf(kind)
          if (kind === 'first-text') return { value: await typical(ms, work) }
          // Connections that have timed out since the last turn are opened again first.
          await Promise.all(Array.from({ length: width }, work))
          return perSecond(width, ms, work)
        },
        close: () => contender.close(),
      }
    },
  ]),
)

/** Pieces of work, each returning what it counts. */
export const works = {
  call:
    ({ call }: Contender) =>
    async () => {
      await call(freshPrompt())
      return 1
    },
  'call-signal':
    ({ call }: Contender) =>
    async () => {
      await call(freshPrompt(), new AbortController().signal)
      return 1
    },
  latency:
    ({ call }: Contender) =>
    async () => {
      const start = performance.now()
      await call(freshPrompt())
      return performance.now() - start
    },
  stream:
    ({ stream }: Contender) =>
    async () => {
      let pieces = 0
      await stream(freshPrompt(), undefined, () => {
        pieces++
      })
      if (pieces !== PIECES) throw new Error(`It streamed ${pieces} pieces of ${PIECES}.`)
      // The chunks with the role and the finish reason are work, too.
      return PIECES + 2
    },
  'first-text':
    ({ stream }: Contender) =>
    async () => {
      const start = performance.now()
      let first = 0
      await stream(freshPrompt(), undefined, () => {
        if (first === 0) first = performance.now() - start
      })
      return first
    },
}
