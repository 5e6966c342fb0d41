import { isRecord } from '../json.js'

type Counting = Record<string, unknown> & { readonly attempts: number }

/** A note that counts attempts, as those of the client and of `retry` do. */
const isCounting = (note: unknown): note is Counting =>
  isRecord(note) && typeof note.attempts === 'number'

const attemptsIn = (note: unknown): number => (isCounting(note) ? note.attempts : 0)

/**
 * Notes for one of several tries of a call: it knows what has been noted so far, but for attempts,
 * which are counted for each and added up by `takeNotes()` and `addAttempts()`.
 */
export function forkNotes(of: ReadonlyMap<string, unknown>): Map<string, unknown> {
  const notes = new Map<string, unknown>()
  for (const [name, note] of of) if (!isCounting(note)) notes.set(name, note)
  return notes
}

/** Copies the notes of the try that has answered to the call's own. */
export function takeNotes(
  to: Map<string, unknown>,
  from: ReadonlyMap<string, unknown>,
  { overwrite = true }: { overwrite?: boolean } = {},
): void {
  for (const [name, note] of from) {
    if (isCounting(note))
      to.set(name, { ...note, attempts: note.attempts + attemptsIn(to.get(name)) })
    else if (overwrite || !to.has(name)) to.set(name, note)
  }
}

/** Adds the attempts of a try that has not answered: they were made all the same. */
export function addAttempts(to: Map<string, unknown>, from: ReadonlyMap<string, unknown>): void {
  for (const [name, note] of from) {
    if (!isCounting(note)) continue
    const before = to.get(name)
    to.set(name, {
      ...(isCounting(before) ? before : note),
      attempts: note.attempts + attemptsIn(before),
    })
  }
}
