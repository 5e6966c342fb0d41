import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, it } from 'vitest'
import { installPackage } from '../../support/packed.js'
import { checks, type Mounted, type Trait } from './checks.js'
import { type Kind, MountServer, type Protocol } from './server.js'

const PROGRAMS = join(import.meta.dirname, 'programs')

export interface Mount {
  readonly name: string
  /** The file of its server, and of its recipe. */
  readonly program: string
  readonly has: readonly Trait[]
  /** @default bare and full */
  readonly kinds?: readonly Kind[]
  /** @default 'http' */
  readonly protocol?: Protocol
  /** @default '/ai' */
  readonly prefix?: string
}

/** What only a full server has. */
const FULL: readonly Trait[] = ['parses', 'compresses', 'setsIds']

/** Tries all mounts of one folder of packages over the one table of checks. */
export function testMounts(group: string, mounts: readonly Mount[]): void {
  let folder: string
  beforeAll(async () => {
    folder = await installPackage(group, PROGRAMS)
  })

  describe.each(mounts)('$name', (mount) => {
    const { program, has, kinds = ['bare', 'full'], protocol = 'http', prefix = '/ai' } = mount
    let server: MountServer
    beforeAll(async () => {
      server = await MountServer.start(folder, program, kinds)
    })
    afterAll(() => server?.close())
    beforeEach(() => server.upstream.reset())

    describe.each(kinds)('%s', (kind) => {
      const traits = has.filter((trait) => kind === 'full' || !FULL.includes(trait))
      let mounted: Mounted & { client: { close(): void } }
      beforeAll(() => {
        const { upstream, logged, stats } = server
        mounted = { client: server.client(kind, protocol), upstream, logged, stats, prefix }
      })
      afterAll(() => mounted?.client.close())

      for (const { name, needs, run } of checks)
        if (needs === undefined || traits.includes(needs))
          it(name, { timeout: 10_000 }, () => run(mounted))
    })
  })
}
