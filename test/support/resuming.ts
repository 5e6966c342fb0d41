import type { SharedState } from '../../src/core/index.js'
import { createGateway, type Gateway, type GatewayOptions } from '../../src/gateway/index.js'
import { MemoryLogs } from '../../src/gateway/streams/memory-logs.js'
import { type Blossom, type BlossomLayer, createBlossom } from '../../src/index.js'
import { LogProcess } from './log-process.js'
import { onlyShared } from './only-shared.js'
import type { PacedUpstream } from './paced-upstream.js'

/** A gateway by itself, as a function. */
export interface Server extends AsyncDisposable {
  readonly gateway: Gateway
  readonly blossom: Blossom<readonly unknown[]>
  /** What it shares with others, if it does. */
  readonly processes: readonly LogProcess[]
}

/** Logs of several names that several servers have together in memory. */
export class SharedMemory {
  readonly #byName = new Map<string, MemoryLogs>()

  get bytes(): number {
    return [...this.#byName.values()].reduce((sum, { bytes }) => sum + bytes, 0)
  }

  close(): void {
    for (const logs of this.#byName.values()) logs.close()
  }

  /** What one server sees of it. */
  forServer(): { shared: SharedState; processes: LogProcess[] } {
    const processes: LogProcess[] = []
    const shared = onlyShared({
      logs: (name) => {
        const logs = this.#byName.get(name) ?? new MemoryLogs()
        this.#byName.set(name, logs)
        const process = new LogProcess(logs)
        processes.push(process)
        return process
      },
    })
    return { shared, processes }
  }
}

export function openServer(
  baseURL: string,
  {
    layers = [],
    memory,
    ...options
  }: GatewayOptions & { layers?: readonly BlossomLayer[]; memory?: SharedMemory } = {},
): Server {
  const blossom = createBlossom({ apiKey: 'sk_test', baseURL }).use(...layers)
  const own = memory?.forServer()
  const streams = options.streams ?? true
  const gateway = createGateway(blossom, {
    ...options,
    streams:
      own === undefined || typeof streams !== 'object'
        ? own === undefined
          ? streams
          : { shared: own.shared }
        : { ...streams, shared: own.shared },
  })
  return {
    gateway,
    blossom: blossom as Blossom<readonly unknown[]>,
    processes: own?.processes ?? [],
    async [Symbol.asyncDispose]() {
      await gateway.close({ timeoutMs: 0 })
      await blossom.close({ timeoutMs: 0 })
    },
  }
}

/** An answer that is being read. */
export class Reading {
  readonly response: Response
  /** What has been read. */
  text = ''
  readonly #reader: ReadableStreamDefaultReader<Uint8Array> | undefined
  readonly #decoder = new TextDecoder()

  constructor(response: Response) {
    this.response = response
    this.#reader = response.body?.getReader()
  }

  get status(): number {
    return this.response.status
  }

  get id(): string {
    return this.response.headers.get('x-stream-id') ?? 'none'
  }

  /** Reads on. Resolves with whether there was more. */
  async read(): Promise<boolean> {
    const { done, value } = (await this.#reader?.read()) ?? { done: true }
    this.text += this.#decoder.decode(value, { stream: !done })
    return !done
  }

  /** Reads until the text has so many characters, or holds a word. */
  async until(goal: number | string): Promise<this> {
    const isThere = () =>
      typeof goal === 'number' ? this.text.length >= goal : this.text.includes(goal)
    while (!isThere()) if (!(await this.read())) throw new Error(`It ended with ${this.text}`)
    return this
  }

  /** Reads to the end. What keeps the connection alive is left out. */
  async rest(): Promise<string> {
    while (await this.read());
    return withoutComments(this.text)
  }

  /** Goes away. */
  async leave(): Promise<void> {
    await this.#reader?.cancel()
  }
}

export interface Asking {
  path?: string
  body?: object
  headers?: Record<string, string>
}

/** Asks for a stream that can be resumed. */
export async function begin(
  { gateway }: Pick<Server, 'gateway'>,
  { path = '/v1/chat/completions', body, headers }: Asking = {},
): Promise<Reading> {
  const request = new Request(`http://localhost${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-stream-resumable': 'true', ...headers },
    body: JSON.stringify(
      body ?? { model: 'm', messages: [{ role: 'user', content: 'Hello' }], stream: true },
    ),
  })
  return new Reading(await gateway(request))
}

/** A stream that has begun, and a reading that has its first chunk. */
export async function startedOn(
  upstream: PacedUpstream,
  server: Server,
  index = 0,
  headers: Record<string, string> = {},
) {
  const asked = begin(server, { headers })
  const stream = await upstream.stream(index)
  await stream.say('one')
  const reading = await (await asked).until('one')
  return { reading, stream, id: reading.id }
}

/** Asks for the rest of a stream. */
export async function resume(
  { gateway }: Pick<Server, 'gateway'>,
  id: string,
  {
    after,
    query = '',
    headers = {},
  }: { after?: number; query?: string; headers?: Record<string, string> } = {},
): Promise<Reading> {
  const request = new Request(`http://localhost/v1/streams/${id}${query}`, {
    headers: { ...(after !== undefined && { 'last-event-id': `${after}` }), ...headers },
  })
  return new Reading(await gateway(request))
}

export async function stop(
  { gateway }: Pick<Server, 'gateway'>,
  id: string,
  headers: Record<string, string> = {},
): Promise<number> {
  const request = new Request(`http://localhost/v1/streams/${id}`, { method: 'DELETE', headers })
  return (await gateway(request)).status
}

/** A text without the comments that keep a connection alive, which come when they come. */
const withoutComments = (text: string): string => text.replace(/^:.*\n\n/gm, '')

/** The events of a text that are complete, comments left out. */
export const completeEvents = (text: string): string[] =>
  withoutComments(text)
    .split(/(?<=\n\n)/)
    .filter((event) => event.endsWith('\n\n'))

/** The id of the last event that is complete; undefined when there is none. */
export function lastIdIn(text: string): number | undefined {
  const id = /^id: (\d+)$/m.exec(completeEvents(text).at(-1) ?? '')?.[1]
  return id === undefined ? undefined : Number(id)
}

/** The events of a text, each with its place. */
export const numbered = (text: string): string =>
  completeEvents(text)
    .map((event, i) => `id: ${i}\n${event}`)
    .join('')
