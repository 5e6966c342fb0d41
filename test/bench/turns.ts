import { type ChildProcess, fork } from 'node:child_process'
import { join } from 'node:path'
import type { Sample } from './table.js'

/** A contender, ready for its turns. */
export interface Side {
  /**
   * Works without a clock, before the first turn of its kind: a server is asked about after hours,
   * not in its first second.
   */
  warmUp?(kind: string): Promise<unknown>
  turn(kind: string): Promise<Sample> | Sample
  close?(): unknown
}

export type MakeSide<Settings> = (settings: Settings) => Promise<Side> | Side

/** A benchmark whose contenders have a process each exports them by name. */
export type Sides = Readonly<Record<string, MakeSide<never>>>

/** What a contender's process says: `ready`, then one figure for each turn. */
export type Said = 'ready' | { readonly sample: Sample } | { readonly error: string }

/**
 * The contenders of a benchmark, each in a process of its own, of which one at a time works: what
 * one leaves behind, such as the timers of a minute's deadlines, slows nobody else's garbage
 * collection.
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
    try {
      const ready = names.map((name) => {
        const options = { execArgv: [...execArgv] }
        const child = fork(
          join(import.meta.dirname, 'turn-process.js'),
          [bench, name, JSON.stringify(settings)],
          options,
        )
        all.#children.set(name, child)
        return heard(child, name)
      })
      await Promise.all(ready)
    } catch (error) {
      await all.close()
      throw error
    }
    return all
  }

  /** The contenders' turns of one kind. */
  turns(kind: string): Record<string, () => Promise<Sample>> {
    return Object.fromEntries(
      [...this.#children].map(([name, child]) => [name, () => ask(child, name, kind)]),
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
  const answer = heard(child, name)
  child.send(kind)
  const said = await answer
  if (typeof said !== 'object' || !('sample' in said)) throw new Error(`${name} gave no figure.`)
  return said.sample
}

function heard(child: ChildProcess, name: string): Promise<Said> {
  return new Promise((resolve, reject) => {
    const died = (code: number | null) =>
      reject(new Error(`${name}: its process ended with ${code}.`))
    child.once('exit', died)
    child.once('message', (said: Said) => {
      child.off('exit', died)
      if (typeof said === 'object' && 'error' in said) reject(new Error(`${name}: ${said.error}`))
      else resolve(said)
    })
  })
}
