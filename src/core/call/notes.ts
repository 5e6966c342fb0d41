import { isRecord } from '../json.js'

type Counting = Record<string, unknown> & { readonly attempts: number }

/** A note with a counter of attempts. The client and `retry()` leave such notes. */
const isCounting = (note: unknown): note is Counting =>
  isRecord(note) && typeof note.attempts === 'number'

const attemptsIn = (note: unknown): number => (isCounting(note) ? note.attempts : 0)

/**
 * Copies the notes for one of several tries of a call, without the notes that count attempts. Each
 * try counts its own attempts; `takeNotes()` and `addAttempts()` add them up.
 */
export function forkNotes(of: ReadonlyMap<string, unknown>): Map<string, unknown> {
  const notes = new Map<string, unknown>()
  for (const [name, note] of of) if (!isCounting(note)) notes.set(name, note)
  return notes
}

/** Copies the notes of the try that has answered to the call's own notes. */
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

/** Adds the attempts of a try that did not answer. */
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
