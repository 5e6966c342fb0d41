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

/**
 * Interval of a holder's heartbeat, and the time after which a silent one counts as dead.
 * Milliseconds.
 */
const BEAT_MS = 5_000
const DEAD_MS = 30_000

/** The content of a lock file. */
interface Holder {
  readonly pid: number
  /** The machine or container in which `pid` is valid. */
  readonly place: string
  /** Start time of the process, if known, because its `pid` may be reused. */
  readonly started: string | undefined
  readonly released?: boolean
}

/**
 * Locks a directory for one process. The lock of a dead process can be taken over: on the same
 * machine immediately, from another machine after 30 s.
 *
 * Each holder creates a file with the next higher number. The highest number holds the lock and is
 * never deleted. Creating a file fails if another process was faster, so two processes can never
 * take over from the same holder.
 */
export class DirectoryLock {
  readonly #folder: string
  readonly #path: string
  readonly #holder: Holder
  #timer: Timer | undefined

  /** @throws ConfigError if another process holds the lock */
  constructor(folder: string) {
    this.#folder = folder
    this.#holder = { pid: process.pid, place: placeOf(), started: startOf(process.pid) }
    mkdirSync(folder, { recursive: true })
    this.#path = this.#acquire()
    this.#beat()
  }

  /** Releases the lock. */
  release(): void {
    this.#timer?.stop()
    // Replace the file atomically, because a partly written one would look like a held lock.
    const other = `${this.#path}.${randomUUID()}`
    try {
      writeFileSync(other, JSON.stringify({ ...this.#holder, released: true }))
      renameSync(other, this.#path)
    } catch {
      // The folder is gone, or the lock is taken over when the process is found to be dead.
    }
  }

  #acquire(): string {
    for (;;) {
      const last = this.#last()
      if (last > 0) this.#refuseIfHeld(this.#pathOf(last))
      const path = this.#pathOf(last + 1)
      if (!this.#claim(path)) continue
      // A slow process may have created a number that is no longer the highest.
      if (this.#last() === last + 1) {
        for (const number of this.#numbers()) if (number <= last) rmSync(this.#pathOf(number))
        return path
      }
      rmSync(path)
    }
  }

  /** Creates a complete file atomically. Returns false if it exists. */
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
      `createBatches: the directory is in use by process ${holder.pid}; only one process at a time can use it.`,
    )
  }

  #beat(): void {
    this.#timer = new Timer(BEAT_MS, () => {
      const at = wallTime() / 1_000
      try {
        utimesSync(this.#path, at, at)
      } catch {
        // Other machines consider this process dead unless a later heartbeat succeeds.
      }
      this.#beat()
    }).unref()
  }
}

/** Reads a lock file; `undefined` if it was deleted or is unreadable. */
const readHolder = (path: string): Holder | undefined =>
  attempt(() => JSON.parse(readFileSync(path, 'utf8')) as Holder)

function lives({ pid, place, started, released }: Holder, path: string): boolean {
  if (released === true) return false
  const beatAt = attempt(() => statSync(path).mtimeMs) ?? 0
  const isFresh = wallTime() - beatAt < DEAD_MS
  if (place !== placeOf()) return isFresh
  if (!isRunning(pid)) return false
  const now = startOf(pid)
  // Without the start time, the pid may belong to another process, so only the heartbeat counts.
  return now === undefined || started === undefined ? isFresh : now === started
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // EPERM: the process exists, but belongs to another user.
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** Identifies the scope of a pid: the machine since its last boot, or a container. */
function placeOf(): string {
  const boot = attempt(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim())
  const space = attempt(() => readlinkSync('/proc/self/ns/pid'))
  return [hostname(), boot, space].join(' ')
}

/**
 * Start time of a process, on Linux: field 22 of `/proc/PID/stat`, counted after the process name.
 */
function startOf(pid: number): string | undefined {
  const line = attempt(() => readFileSync(`/proc/${pid}/stat`, 'utf8'))
  return line?.slice(line.lastIndexOf(')') + 2).split(' ')[19]
}

/** Reads something that not all systems have; `undefined` if that fails. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}
