import type { ToolCall } from '../../../client/types.js'
import { ToolCalls } from '../../../client/wire/tool-calls.js'
import { isRecord } from '../../../core/index.js'
import type { FunctionCall } from './items.js'

type Fields = Readonly<Record<string, unknown>>

/** Creates the item of a call, once its name is known. */
type Open = (callId: string | undefined, name: string) => FunctionCall

/**
 * Assembles the tool calls of an answer from their pieces; see `ToolCalls`. Calls stay open until
 * the end, because pieces of several calls may alternate.
 */
export class Calls {
  readonly #calls = new ToolCalls()
  readonly #open: Open
  readonly #items = new Map<ToolCall, FunctionCall>()
  /** Arguments that arrived before the name of their call. */
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

  /** Adds calls that never got a name. */
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

/** The arguments as text; some servers send them as an object. */
function argumentsIn({ function: called }: Fields): string {
  const given = isRecord(called) ? called.arguments : undefined
  if (typeof given === 'string') return given
  return isRecord(given) ? JSON.stringify(given) : ''
}
