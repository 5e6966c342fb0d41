import { isRecord } from '../../core/index.js'
import type { ToolCall } from '../types.js'
import { fieldOf, isEmpty } from './choices.js'

/** One call, as far as its pieces have come. */
interface Begun {
  readonly call: ToolCall & Record<string, unknown>
  /** The first index it was given. */
  readonly index: number | undefined
}

/**
 * Tool calls put together from their pieces. What a piece belongs to is known by its id: a new one
 * begins a call. A piece without an id goes on with the call of its index, or else the last. Some
 * providers give every call the index 0, none at all, or another one in mid-call.
 */
export class ToolCalls {
  readonly #begun: Begun[] = []
  readonly #byIndex = new Map<number, Begun>()
  /** The call that the last piece belonged to, as far as it has come. */
  last: ToolCall | undefined

  /** Returns whether the piece could be put in its place without a guess. */
  add(piece: Readonly<Record<string, unknown>>): boolean {
    const index = typeof piece.index === 'number' ? piece.index : undefined
    const found = this.#find(piece, index)
    if (found === undefined) return this.#begin(piece, index)
    if (index !== undefined) this.#byIndex.set(index, found)
    this.last = found.call
    return join(found.call, piece)
  }

  /** The calls by their indices where these tell them apart, else in the order they began. */
  get list(): ToolCall[] {
    const indices = new Set(this.#begun.map(({ index }) => index))
    const areApart = indices.size === this.#begun.length && !indices.has(undefined)
    const ordered = areApart
      ? [...this.#begun].sort((a, b) => (a.index as number) - (b.index as number))
      : this.#begun
    return ordered.map(({ call }) => call)
  }

  #find(piece: Readonly<Record<string, unknown>>, index: number | undefined): Begun | undefined {
    const at = index === undefined ? undefined : this.#byIndex.get(index)
    const name = nameOf(piece)
    if (!isEmpty(piece.id)) {
      const known = this.#begun.find(({ call }) => call.id === piece.id)
      if (known !== undefined) return known
      // The id of a call may come after its name.
      return at !== undefined && isEmpty(at.call.id) && name === undefined ? at : undefined
    }
    if (at !== undefined) {
      const before = nameOf(at.call)
      return name === undefined || before === undefined || name === before ? at : undefined
    }
    return name === undefined ? this.#begun.at(-1) : undefined
  }

  #begin({ index: _, ...piece }: Readonly<Record<string, unknown>>, index: number | undefined) {
    const call: Record<string, unknown> = {}
    for (const name in piece) {
      const value = piece[name]
      call[name] = isRecord(value) ? { ...value } : value
    }
    const begun = { call: call as Begun['call'], index }
    this.#begun.push(begun)
    this.last = begun.call
    if (index !== undefined) this.#byIndex.set(index, begun)
    return true
  }
}

/** The name of the function, or of a tool of another type. */
function nameOf(piece: Readonly<Record<string, unknown>>): string | undefined {
  for (const part of [piece.function, piece.custom])
    if (isRecord(part) && typeof part.name === 'string' && part.name !== '') return part.name
  return undefined
}

/** Fields whose text comes in pieces. */
const IN_PIECES: ReadonlySet<string> = new Set(['arguments', 'input'])

/**
 * Adds a piece to what came before it; false when a field came twice of which nobody knows whether
 * the second replaces the first or follows it.
 */
function join(
  before: Record<string, unknown>,
  { index: _, ...piece }: Readonly<Record<string, unknown>>,
): boolean {
  let isKnown = true
  for (const name in piece) {
    const [a, b] = [fieldOf(before, name), piece[name]]
    if (isRecord(a) && isRecord(b)) isKnown = join(a, b) && isKnown
    else if (isEmpty(b)) before[name] = a ?? b
    else if (isEmpty(a)) before[name] = isRecord(b) ? { ...b } : b
    else if (IN_PIECES.has(name) && typeof a === 'string' && typeof b === 'string')
      before[name] = a + b
    else isKnown = JSON.stringify(a) === JSON.stringify(b) && isKnown
  }
  return isKnown
}
