import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type JobResult, type JobsState, parseJson } from '../../core/index.js'
import { type BatchHeader, type ResultsOf, resultsOf, type Shelf } from '../local/shelf.js'
import { Journal, type Place, readLines } from './journal.js'
import { writeWhole } from './whole.js'

/** An entry in the log of a batch. */
type LogEntry =
  | { readonly begin: string }
  | { readonly back: string }
  | ({ readonly key: string } & JobResult)
  | { readonly close: 'cancelling' | 'expiring'; readonly at: number }

/** The files of a batch. */
export const HEADER = 'batch.json'
export const LINES = 'lines.jsonl'
const LOG = 'log.jsonl'

/**
 * A batch in its own folder: a header, the lines, and a log of their runs and results. Memory holds
 * only the position of each.
 */
export class FolderShelf implements Shelf {
  readonly #folder: string
  readonly #header: BatchHeader
  /** Positions of the lines without a result. */
  readonly #lines: Map<string, Place>
  /** Positions of the results in the log; `undefined` until the log has been read. */
  #results: Record<ResultsOf, Place[]> | undefined
  #log: Promise<Journal> | undefined
  readonly #texts: Journal
  #hasEnded: boolean

  constructor(folder: string, header: BatchHeader, lines: Map<string, Place>) {
    this.#folder = folder
    this.#header = header
    this.#lines = lines
    this.#texts = Journal.reading(join(folder, LINES))
    this.#hasEnded = header.ended !== undefined
  }

  /** Reads the log and passes each entry to `onEntry`. */
  async load(onEntry: (entry: LogEntry) => void): Promise<void> {
    this.#log = Journal.open(join(this.#folder, LOG), this.#reader(onEntry))
    await this.#log
  }

  async text(key: string): Promise<string> {
    const line = await this.#texts.read(this.#lines.get(key) as Place)
    return (JSON.parse(line) as { text: string }).text
  }

  begin(key: string): void {
    this.#note({ begin: key })
  }

  putBack(key: string): void {
    this.#note({ back: key })
  }

  async add(results: readonly { readonly key: string; readonly result: JobResult }[]) {
    const log = await this.#opened()
    const places = await log.append(
      results.map(({ key, result: { kind, text, bytes } }) =>
        JSON.stringify({ key, kind, text, bytes } satisfies LogEntry),
      ),
    )
    results.forEach(({ key, result }, i) => {
      this.#lines.delete(key)
      this.#results?.[resultsOf(result.kind)].push(places[i] as Place)
    })
  }

  async close(as: 'cancelling' | 'expiring', at: number): Promise<void> {
    const log = await this.#opened()
    await log.append([JSON.stringify({ close: as, at } satisfies LogEntry)])
  }

  async end(state: JobsState): Promise<void> {
    this.#hasEnded = true
    await this.#writeHeader(state)
    await this.release()
    // The lines are no longer needed.
    await rm(join(this.#folder, LINES), { force: true })
  }

  async results(of: ResultsOf, from: number, limit: number): Promise<readonly string[]> {
    const log = await this.#opened()
    const places = this.#results?.[of].slice(from, from + limit) ?? []
    const texts: string[] = []
    for (const place of places) texts.push((JSON.parse(await log.read(place)) as JobResult).text)
    if (this.#hasEnded) await log.release()
    return texts
  }

  async drop(of: ResultsOf, state: JobsState): Promise<void> {
    const log = await this.#opened()
    const places = this.#results?.[of === 'completed' ? 'failed' : 'completed'] ?? []
    const kept: string[] = []
    for (const place of places) kept.push(await log.read(place))
    await this.#writeHeader(state)
    await this.release()
    await writeWhole(join(this.#folder, LOG), kept.map((line) => `${line}\n`).join(''))
    this.#results = undefined
    this.#log = undefined
  }

  async remove(): Promise<void> {
    await this.release()
    await rm(this.#folder, { recursive: true, force: true })
  }

  async release(): Promise<void> {
    const log = await this.#log?.catch(() => undefined)
    await log?.release()
    await this.#texts.release()
  }

  #writeHeader(state: JobsState): Promise<void> {
    const header: BatchHeader = { ...this.#header, ended: state }
    return writeWhole(join(this.#folder, HEADER), JSON.stringify(header))
  }

  #note(entry: LogEntry): void {
    // A failed note is acceptable, like one that is lost in a crash of the machine.
    this.#opened().then(
      (log) => log.note(JSON.stringify(entry)),
      () => {},
    )
  }

  async #opened(): Promise<Journal> {
    if (this.#log === undefined) await this.load(() => {})
    try {
      return await (this.#log as Promise<Journal>)
    } catch (error) {
      this.#log = undefined
      throw error
    }
  }

  /** Records the positions of results. Only the first result of a line counts. */
  #reader(onEntry: (entry: LogEntry) => void) {
    const results: Record<ResultsOf, Place[]> = { completed: [], failed: [] }
    const done = new Set<string>()
    this.#results = results
    return (text: string, at: number, bytes: number) => {
      const entry = read<LogEntry>(text)
      if (entry === undefined) return
      if ('key' in entry) {
        if (done.has(entry.key)) return
        done.add(entry.key)
        this.#lines.delete(entry.key)
        results[resultsOf(entry.kind)].push({ at, bytes })
      }
      onEntry(entry)
    }
  }
}

/** The position of each line of a batch. */
export async function placesOf(folder: string): Promise<Map<string, Place>> {
  const places = new Map<string, Place>()
  await readLines(join(folder, LINES), (text, at, bytes) => {
    const line = read<{ key: string }>(text)
    if (line !== undefined) places.set(line.key, { at, bytes })
  })
  return places
}

/** Parses a line; `undefined` if the disk has corrupted it. */
function read<T>(text: string): T | undefined {
  try {
    return parseJson(text) as T
  } catch {
    return undefined
  }
}
