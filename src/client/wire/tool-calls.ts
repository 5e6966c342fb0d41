import { isRecord } from '../../core/index.js'
import type { ToolCall } from '../types.js'
import { fieldOf, isEmpty } from './choices.js'

/** A tool call as assembled from the pieces so far. */
interface Begun {
  readonly call: ToolCall & Record<string, unknown>
  /** The first index it was given. */
  readonly index: number | undefined
}

/**
 * Assembles tool calls from their pieces. A piece belongs to the call with its id; a new id begins
 * a call. A piece without an id continues the call with its index, or else the last call. Indices
 * are not reliable: some providers give every call the index 0, send none, or change it within a
 * call.
 */
export class ToolCalls {
  readonly #begun: Begun[] = []
  readonly #byIndex = new Map<number, Begun>()
  /** The call that the last piece belonged to, as assembled so far. */
  last: ToolCall | undefined

  /** Adds a piece. Returns whether it could be joined with certainty. */
  add(piece: Readonly<Record<string, unknown>>): boolean {
    const index = typeof piece.index === 'number' ? piece.index : undefined
    const found = this.#find(piece, index)
    if (found === undefined) return this.#begin(piece, index)
    if (index !== undefined) this.#byIndex.set(index, found)
    this.last = found.call
    return join(found.call, piece)
  }

  /** The calls, sorted by index if all have distinct indices, else in the order they began. */
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
      // The id of a call may arrive after its name.
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

/** Fields whose text is concatenated. */
const IN_PIECES: ReadonlySet<string> = new Set(['arguments', 'input'])

/**
 * Merges a piece into the call. Returns false if a field arrived twice with different values and it
 * is unclear whether the second value replaces the first or continues it.
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
