import type { ToolCall } from '../../../client/types.js'
import { ToolCalls } from '../../../client/wire/tool-calls.js'
import { isRecord } from '../../../core/index.js'
import type { FunctionCall } from './items.js'

type Fields = Readonly<Record<string, unknown>>

/** Makes the item of a call, once its name is known. */
type Open = (callId: string | undefined, name: string) => FunctionCall

/**
 * The calls of an answer from their pieces. What a piece belongs to is known as everywhere: by its
 * id, else its index, else it goes on with the last. Calls stay open until the end, as pieces of
 * several may take turns.
 */
export class Calls {
  readonly #calls = new ToolCalls()
  readonly #open: Open
  readonly #items = new Map<ToolCall, FunctionCall>()
  /** What has come of a call before its name. */
  readonly #early = new Map<ToolCall, string>()

  constructor(open: Open) {
    this.#open = open
  }

  add(piece: Fields): void {
    this.#calls.add(piece)
    const call = this.#calls.last
    if (call === undefined) return
    const delta = argumentsIn(piece)
    const item = this.#items.get(call)
    if (item !== undefined) return item.add(delta)
    const early = (this.#early.get(call) ?? '') + delta
    if (!call.function?.name) this.#early.set(call, early)
    else this.#begin(call, early)
  }

  /** Calls that never got a name. */
  finish(): void {
    for (const [call, early] of this.#early) this.#begin(call, early)
  }

  #begin(call: ToolCall, early: string): void {
    this.#early.delete(call)
    const item = this.#open(call.id, call.function?.name ?? '')
    this.#items.set(call, item)
    item.add(early)
  }
}

/** Some servers give the arguments as an object. */
function argumentsIn({ function: called }: Fields): string {
  const given = isRecord(called) ? called.arguments : undefined
  if (typeof given === 'string') return given
  return isRecord(given) ? JSON.stringify(given) : ''
}
