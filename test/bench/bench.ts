import { rowsOf, type Sample, type Table } from './table.js'

/** What a benchmark's process sends to the one that started it. */
export type Message =
  | { readonly table: Table }
  | { readonly progress: string }
  | { readonly leftOut: string }
  | { readonly failed: string }

export interface Contenders {
  readonly [name: string]: () => Promise<Sample> | Sample
}

/** Given to each benchmark's `run`. */
export class Bench {
  readonly quick: boolean
  readonly #name: string
  readonly #send: (message: Message) => void

  constructor(name: string, quick: boolean, send: (message: Message) => void) {
    this.#name = name
    this.quick = quick
    this.#send = send
  }

  /** A duration, or a short one in a smoke run. */
  ms(full: number): number {
    return this.quick ? Math.min(full, 60) : full
  }

  /** The contenders' names, of which a smoke run takes those in `some`. */
  names(all: object, some: readonly string[]): string[] {
    return Object.keys(all).filter((name) => !this.quick || some.includes(name))
  }

  /** A number of calls, or a small one in a smoke run. */
  count(full: number, quick = Math.ceil(full / 50)): number {
    return this.quick ? quick : full
  }

  /**
   * Runs the contenders in turn, round after round. Each round begins with another contender, so
   * that neither a machine that drifts nor a place in the order favours anybody. The first
   * `warmUps` rounds are not counted. No garbage is collected between turns: a process that has
   * just collected everything has lost its compiled code and its memory, as no server has.
   */
  async table(
    part: string,
    title: string,
    unit: string,
    contenders: Contenders,
    { rounds = 5, warmUps = 1 } = {},
  ): Promise<void> {
    const id = part === '' ? this.#name : `${this.#name}.${part}`
    const names = Object.keys(contenders)
    const samples = new Map<string, Sample[]>(names.map((name) => [name, []]))
    const last = this.quick ? 1 : rounds
    for (let round = 1 - (this.quick ? 0 : warmUps); round <= last; round++) {
      for (let i = 0; i < names.length; i++) {
        const name = names[(i + Math.max(0, round)) % names.length] as string
        const now = round < 1 ? 'warming up' : `round ${round} of ${last}`
        this.#send({ progress: `${id}: ${now}, ${name}` })
        const sample = await contenders[name]?.()
        if (sample !== undefined && round >= 1) samples.get(name)?.push(sample)
      }
    }
    this.#send({ table: { id, title, unit, rows: rowsOf(samples) } })
  }

  leaveOut(sentence: string): void {
    this.#send({ leftOut: `${this.#name}: ${sentence}` })
  }

  progress(sentence: string): void {
    this.#send({ progress: `${this.#name}: ${sentence}` })
  }
}

/** A file `NAME.bench.ts` exports this. */
export interface BenchFile {
  run(bench: Bench): Promise<void>
}
