import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

/** A call for a process to make. */
export interface Order {
  readonly id: number
  readonly how: 'generate' | 'stream'
  readonly prompt: string
}

/** What a process tells of a call: a piece of a stream, or how it ended. `id` -1: it is ready. */
export interface Report {
  readonly id: number
  readonly piece?: string
  readonly text?: string
  readonly failed?: { readonly code: string; readonly cause?: string | undefined }
  readonly ms?: number
}

/** A call that another process makes. */
export class RemoteCall {
  readonly pieces: string[] = []
  readonly ended: Promise<Report>
  #end!: (report: Report) => void
  isOver = false

  constructor() {
    this.ended = new Promise((resolve) => {
      this.#end = resolve
    })
  }

  report(report: Report): void {
    if (report.piece !== undefined) return void this.pieces.push(report.piece)
    this.isOver = true
    this.#end(report)
  }
}

/** A process of a service, which shares state with others by Redis. */
export class Process {
  readonly #child: ChildProcess
  readonly #calls = new Map<number, RemoteCall>()
  #count = 0

  private constructor(child: ChildProcess) {
    this.#child = child
    child.on('message', (report: Report) => this.#calls.get(report.id)?.report(report))
  }

  static async start(redis: string, upstream: string, layers: readonly string[]): Promise<Process> {
    const child = fork(join(import.meta.dirname, 'child.ts'), [redis, upstream, layers.join()], {
      execArgv: ['--import', 'tsx'],
      silent: true,
    })
    child.stderr?.resume()
    child.stdout?.resume()
    await once(child, 'message')
    return new Process(child)
  }

  ask(how: Order['how'], prompt: string): RemoteCall {
    const call = new RemoteCall()
    const id = this.#count++
    this.#calls.set(id, call)
    this.#child.send({ id, how, prompt } satisfies Order)
    return call
  }

  freeze(): void {
    this.#child.kill('SIGSTOP')
  }

  thaw(): void {
    this.#child.kill('SIGCONT')
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    this.#child.kill('SIGKILL')
    await once(this.#child, 'exit')
  }
}
