import { afterEach, beforeEach, vi } from 'vitest'

/** Catches process warnings instead of printing them; `vi.restoreAllMocks()` undoes it. */
export function catchWarnings(said: string[] = []): string[] {
  vi.spyOn(process, 'emitWarning').mockImplementation((warning: string | Error) => {
    said.push(String(warning))
  })
  return said
}

/**
 * Catches the warnings of each test of the file, and gives the list of those of the test that runs.
 */
export function catchWarningsInEachTest(): readonly string[] {
  const said: string[] = []
  beforeEach(() => {
    said.length = 0
    catchWarnings(said)
  })
  afterEach(() => {
    vi.restoreAllMocks()
  })
  return said
}

/**
 * An error with a name of its own: warnings are given once for each text, and the text holds the
 * name.
 */
export function named(name: string, message = 'on purpose'): Error {
  return Object.assign(new Error(message), { name })
}
