import { type ChildProcess, fork } from 'node:child_process'
import { join } from 'node:path'
import type { Sample } from './table.js'

/** A contender, ready for its turns. */
export interface Side {
  /**
   * Works without a clock before the first turn of each kind: what matters of a server is its speed
   * after hours, not in its first second.
   */
  warmUp?(kind: string): Promise<unknown>
  turn(kind: string): Promise<Sample> | Sample
  close?(): unknown
}

export type MakeSide<Settings> = (settings: Settings) => Promise<Side> | Side

/** A benchmark whose contenders have a process each exports them by name. */
export type Sides = Readonly<Record<string, MakeSide<never>>>

/** What a contender's process sends: `ready`, then a sample for each turn. */
export type Reply = 'ready' | { readonly sample: Sample } | { readonly error: string }

/**
 * The contenders of a benchmark, each in a process of its own, of which one works at a time: what
 * one leaves behind, such as its timers, slows nobody else's garbage collection.
 */
export class Processes {
  readonly #children = new Map<string, ChildProcess>()

  static async start(
    bench: string,
    names: readonly string[],
    settings: object,
    execArgv: readonly string[] = ['--expose-gc'],
  ): Promise<Processes> {
    const all = new Processes()
    const program = join(import.meta.dirname, 'turn-process.js')
    try {
      const ready = names.map((name) => {
        const args = [bench, name, JSON.stringify(settings)]
        const child = fork(program, args, { execArgv: [...execArgv] })
        all.#children.set(name, child)
        return nextReply(child, name)
      })
      await Promise.all(ready)
    } catch (error) {
      await all.close()
      throw error
    }
    return all
  }

  /** Turns of one kind, of all contenders or of those named. */
  turns(
    kind: string,
    names: readonly string[] = [...this.#children.keys()],
  ): Record<string, () => Promise<Sample>> {
    return Object.fromEntries(
      [...this.#children]
        .filter(([name]) => names.includes(name))
        .map(([name, child]) => [name, () => ask(child, name, kind)]),
    )
  }

  async close(): Promise<void> {
    const running = [...this.#children.values()].filter(
      ({ exitCode, signalCode }) => exitCode === null && signalCode === null,
    )
    const gone = running.map((child) => {
      const exit = new Promise((resolve) => child.once('exit', resolve))
      if (child.connected) child.disconnect()
      return exit
    })
    await Promise.all(gone)
  }
}

async function ask(child: ChildProcess, name: string, kind: string): Promise<Sample> {
  const answer = nextReply(child, name)
  child.send(kind)
  const reply = await answer
  if (typeof reply !== 'object' || !('sample' in reply)) throw new Error(`${name} sent no sample.`)
  return reply.sample
}

function nextReply(child: ChildProcess, name: string): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const died = (code: number | null) =>
      reject(new Error(`${name}: its process ended with ${code}.`))
    child.once('exit', died)
    child.once('message', (reply: Reply) => {
      child.off('exit', died)
      if (typeof reply === 'object' && 'error' in reply)
        reject(new Error(`${name}: ${reply.error}`))
      else resolve(reply)
    })
  })
}
