import { type LogPart, type LogReader, now, Timer } from '../../core/index.js'
import { ALONE } from '../operations.js'
import type { ScriptReply } from '../run-script.js'
import type { Note, NoteListener } from './inbox.js'
import type { LogPlace } from './place.js'
import { LEAVE, READ } from './scripts.js'

/** Maximum number of entries per read. */
export const PAGE = 500
/** Polling intervals: with messages, in case the writer has died, and without. Milliseconds. */
const LOOK_MS = 2_500
const LOOK_ALONE_MS = 250
/** How long reading of a partly read log is retried. Milliseconds. */
const PATIENCE_MS = 2_000

/** The reply of a script that reads a log. */
interface Look extends LogPart {
  readonly generation: string
  readonly writer: string
}

/** Reads one generation of a log. */
export class RedisLogReader implements LogReader, NoteListener {
  readonly #log: LogPlace
  readonly #generation: string
  #place: number
  /** A part that has been fetched but not yet returned. */
  #known: LogPart | undefined
  #hasRead = false
  #failingSince: number | undefined
  #isNoted = false
  #wake: (() => void) | undefined
  #hasLeft = false

  constructor(log: LogPlace, from: number, reply: ScriptReply) {
    const look = lookOf(reply, from)
    this.#log = log
    this.#generation = look.generation
    this.#place = from + look.entries.length
    this.#known = look
    log.inbox.listen(log.key, this)
    log.inbox.post(look.writer, log.key, 'joined')
  }

  async read(): Promise<LogPart> {
    // Do not look after leaving: a look registers the process as a reader.
    while (!this.#hasLeft) {
      const part = this.#known ?? (await this.#look())
      this.#known = undefined
      if (this.#hasLeft) break
      if (part !== undefined && (part.entries.length > 0 || part.state !== 'open'))
        return this.#give(part)
      await this.#noted()
    }
    return new Promise(() => {})
  }

  leave(): void {
    if (this.#hasLeft) return
    this.#hasLeft = true
    this.#wake?.()
    const isLast = this.#log.inbox.unlisten(this.#log.key, this)
    if (isLast) void this.#reportLeft()
  }

  noted(note: Note): void {
    if (note !== 'more') return
    this.#isNoted = true
    this.#wake?.()
  }

  #give({ entries, state }: LogPart): LogPart {
    this.#hasRead = true
    if (state !== 'open') this.leave()
    return { entries, state }
  }

  async #reportLeft(): Promise<void> {
    const { inbox, key } = this.#log
    const reply = await this.#log.run(LEAVE, inbox.id)
    const writer = reply === ALONE ? '' : String(reply[0] ?? '')
    if (writer !== '') inbox.post(writer, key, 'left')
  }

  /** Fetches the next part; `undefined` if it must be tried again. */
  async #look(): Promise<LogPart | undefined> {
    this.#isNoted = false
    const { inbox } = this.#log
    const reply = await this.#log.run(READ, this.#generation, this.#place, inbox.id, PAGE)
    if (reply === ALONE) return this.#failed()
    this.#failingSince = undefined
    if (reply[0] === 'none') return LOST
    const look = lookOf(reply, this.#place)
    this.#place += look.entries.length
    // A full page: there may be more entries.
    if (look.entries.length === PAGE) this.#isNoted = true
    return look
  }

  #failed(): LogPart | undefined {
    this.#failingSince ??= now()
    const isPatient = this.#hasRead && now() - this.#failingSince < PATIENCE_MS
    return isPatient ? undefined : LOST
  }

  async #noted(): Promise<void> {
    if (this.#isNoted || this.#hasLeft) return
    const isAlone = this.#failingSince !== undefined || !this.#log.inbox.isUp
    let timer: Timer | undefined
    await new Promise<void>((resolve) => {
      this.#wake = resolve
      timer = new Timer(isAlone ? LOOK_ALONE_MS : LOOK_MS, resolve)
    })
    timer?.stop()
    this.#wake = undefined
  }
}

const LOST: LogPart = { entries: [], state: 'lost' }

/** Parses the reply of a script that reads. */
function lookOf(reply: ScriptReply, from: number): Look {
  const [, generation, writer, held, state, written, first, ...found] = reply
  const entries = found.filter((_, i) => i % 2 === 1) as string[]
  const isEnd = found.at(-2) === 'last' || (state === 'ended' && from >= Number(written))
  const isOpen = held === 1 || entries.length === PAGE
  const known = isEnd ? 'ended' : isOpen ? 'open' : 'lost'
  const look = { generation: String(generation), writer: String(writer) }
  if (Number(first) > from) return { ...look, entries: [], state: 'trimmed' }
  return { ...look, entries, state: known }
}
