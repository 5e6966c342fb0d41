import dns from 'node:dns'

/** What becomes of looking a name up: an error, this machine, or no answer ever. */
type Meaning = 'ENOTFOUND' | 'EAI_AGAIN' | 'never' | 'here'

type Told = (error: Error | null, address?: unknown, family?: number) => void

/**
 * Gives names a meaning on this machine, until it is disposed of. `asked` is called at each look-up
 * of one.
 */
export function inventNames(): Disposable & {
  name(host: string, meaning: Meaning, asked?: () => void): void
} {
  const names = new Map<string, { meaning: Meaning; asked: () => void }>()
  /** Look-ups that wait until their name means something. */
  const waiting: (() => void)[] = []
  const real = dns.lookup
  const lookup = (host: string, options: dns.LookupOptions, told: Told) => {
    const known = names.get(host)
    if (known === undefined) return (real as (...args: unknown[]) => void)(host, options, told)
    const { meaning, asked } = known
    asked()
    if (meaning === 'never') return void waiting.push(() => lookup(host, options, told))
    if (meaning !== 'here') {
      const error = Object.assign(new Error(`getaddrinfo ${meaning} ${host}`), {
        code: meaning,
        syscall: 'getaddrinfo',
        hostname: host,
      })
      return process.nextTick(told, error)
    }
    const found = { address: '127.0.0.1', family: 4 }
    process.nextTick(told, null, ...(options.all ? [[found]] : [found.address, found.family]))
  }
  dns.lookup = lookup as typeof dns.lookup
  return {
    name: (host, meaning, asked = () => {}) => {
      names.set(host, { meaning, asked })
      for (const ask of waiting.splice(0)) ask()
    },
    [Symbol.dispose]() {
      dns.lookup = real
    },
  }
}
