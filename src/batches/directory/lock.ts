import { randomUUID } from 'node:crypto'
import {
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { ConfigError, Timer, wallTime } from '../../core/index.js'

/** How often a holder shows that it lives, and after how long without it is dead. Milliseconds. */
const BEAT_MS = 5_000
const DEAD_MS = 30_000

/** What a holder writes of itself. */
interface Holder {
  readonly pid: number
  /** The machine, or the container, in which the process has its number. */
  readonly place: string
  /** When the process started, where that can be known: a number may be another's by now. */
  readonly started: string | undefined
  readonly released?: boolean
}

/**
 * A directory for one process at a time. A process that died holds it no longer: on the same
 * machine that is seen at once, from another one after 30 s.
 *
 * Each holder has a file of its own, with a number that is higher than those before. The highest one
 * holds, it is never deleted, and a new one is made so that it fails if somebody else was faster: so
 * no two can ever take over from the same one.
 */
export class DirectoryLock {
  readonly #folder: string
  readonly #path: string
  readonly #holder: Holder
  #timer: Timer | undefined

  /** @throws ConfigError when another process holds it */
  constructor(folder: string) {
    this.#folder = folder
    this.#holder = { pid: process.pid, place: placeOf(), started: startOf(process.pid) }
    mkdirSync(folder, { recursive: true })
    this.#path = this.#acquire()
    this.#beat()
  }

  /** Lets the next one have it. */
  release(): void {
    this.#timer?.stop()
    // At once: a half of it would look like somebody who holds.
    const other = `${this.#path}.${randomUUID()}`
    try {
      writeFileSync(other, JSON.stringify({ ...this.#holder, released: true }))
      renameSync(other, this.#path)
    } catch {
      // The folder is gone. Otherwise it shows that the process does not live.
    }
  }

  #acquire(): string {
    for (;;) {
      const last = this.#last()
      if (last > 0) this.#refuseIfHeld(this.#pathOf(last))
      const path = this.#pathOf(last + 1)
      if (!this.#claim(path)) continue
      // Whoever was slow may have made a file of a number that was given back long ago.
      if (this.#last() === last + 1) {
        for (const number of this.#numbers()) if (number <= last) rmSync(this.#pathOf(number))
        return path
      }
      rmSync(path)
    }
  }

  /** Makes a file with all that is in it, unless there is one. */
  #claim(path: string): boolean {
    const other = `${path}.${randomUUID()}`
    writeFileSync(other, JSON.stringify(this.#holder))
    try {
      linkSync(other, path)
      return true
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
      throw error
    } finally {
      rmSync(other)
    }
  }

  #pathOf(number: number): string {
    return join(this.#folder, `lock-${number}`)
  }

  #numbers(): number[] {
    return readdirSync(this.#folder).flatMap((name) => {
      const [, digits] = /^lock-(\d+)$/.exec(name) ?? []
      return digits === undefined ? [] : [Number(digits)]
    })
  }

  #last(): number {
    return Math.max(0, ...this.#numbers())
  }

  #refuseIfHeld(path: string): void {
    const holder = readHolder(path)
    if (holder === undefined || !lives(holder, path)) return
    throw new ConfigError(
      `createBatches: process ${holder.pid} uses this directory; one process at a time may have it.`,
    )
  }

  #beat(): void {
    this.#timer = new Timer(BEAT_MS, () => {
      const at = wallTime() / 1_000
      try {
        utimesSync(this.#path, at, at)
      } catch {
        // Seen from other machines it is dead then, unless the next one comes through.
      }
      this.#beat()
    }).unref()
  }
}

/** Who holds, by its file; undefined when the next one has deleted it, or the disk has lost it. */
const readHolder = (path: string): Holder | undefined =>
  attempt(() => JSON.parse(readFileSync(path, 'utf8')) as Holder)

function lives({ pid, place, started, released }: Holder, path: string): boolean {
  if (released === true) return false
  const beatAt = attempt(() => statSync(path).mtimeMs) ?? 0
  const isFresh = wallTime() - beatAt < DEAD_MS
  if (place !== placeOf()) return isFresh
  if (!isRunning(pid)) return false
  const now = startOf(pid)
  // Where nobody knows when a process started, its number may have been given again.
  return now === undefined || started === undefined ? isFresh : now === started
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // It is another user's.
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** Where a process's number means the same process: the machine since it was started, or a container. */
function placeOf(): string {
  const boot = attempt(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim())
  const space = attempt(() => readlinkSync('/proc/self/ns/pid'))
  return [hostname(), boot, space].join(' ')
}

/** When a process started, on Linux: the 22nd word of its line, behind a name with blanks in it. */
function startOf(pid: number): string | undefined {
  const line = attempt(() => readFileSync(`/proc/${pid}/stat`, 'utf8'))
  return line?.slice(line.lastIndexOf(')') + 2).split(' ')[19]
}

/** What only some systems have. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}
