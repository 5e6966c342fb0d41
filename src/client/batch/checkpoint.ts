import { type FileHandle, open, readFile } from 'node:fs/promises'
import { digest, isRecord, parseJson } from '../../core/index.js'
import type { TextResult } from '../types.js'

/**
 * A file of finished items, one line of JSON each, so that a batch that was stopped goes on where
 * it was. A line cut short by a crash is skipped.
 */
export class Checkpoint {
  readonly #file: FileHandle
  readonly #kept: ReadonlyMap<string, TextResult>

  private constructor(file: FileHandle, kept: ReadonlyMap<string, TextResult>) {
    this.#file = file
    this.#kept = kept
  }

  static async open(path: string): Promise<Checkpoint> {
    const before = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return ''
      throw error
    })
    const file = await open(path, 'a')
    // What follows a line cut short must not become part of it.
    if (before !== '' && !before.endsWith('\n')) await file.appendFile('\n')
    return new Checkpoint(file, readLines(before))
  }

  /** The result of this prompt at this place, if it is known. */
  get(index: number, prompt: string): TextResult | undefined {
    return this.#kept.get(keyOf(index, prompt))
  }

  async add(index: number, prompt: string, result: TextResult): Promise<void> {
    // What was said beside it is of that call alone.
    const { headers: _, ...kept } = result
    await this.#file.appendFile(`${JSON.stringify({ key: keyOf(index, prompt), ...kept })}\n`)
  }

  async close(): Promise<void> {
    await this.#file.close()
  }
}

const keyOf = (index: number, prompt: string): string => digest(String(index), String(prompt))

function readLines(text: string): Map<string, TextResult> {
  const kept = new Map<string, TextResult>()
  for (const line of text.split('\n')) {
    try {
      const { key, ...result } = parseJson(line) as { key: string } & TextResult
      if (isRecord(result) && typeof key === 'string' && typeof result.text === 'string')
        kept.set(key, { ...result, headers: {} })
    } catch {
      // An empty line, or one that a crash cut short.
    }
  }
  return kept
}
