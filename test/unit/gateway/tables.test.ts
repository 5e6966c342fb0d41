import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ClientVariables, GatewayVariables } from '../../../src/gateway/env/variables.js'
import { createGateway } from '../../../src/gateway/index.js'
import { createBlossom } from '../../../src/index.js'
import { type BodySchema, fieldsTable, variablesTable } from '../../support/schema-tables.js'

const page = readFileSync(join(import.meta.dirname, '../../../src/gateway/README.md'), 'utf8')

/** What stands between `<!-- schema: NAME -->` and `<!-- end -->`. */
const tableOf = (name: string): string | undefined =>
  new RegExp(`<!-- schema: ${name} -->\\n([^]*?)\\n<!-- end -->`).exec(page)?.[1]

describe('the page of the gateway', () => {
  it.each(['GenerateRequest', 'BatchRequest'])('has the fields of %s', async (name) => {
    const gateway = createGateway(createBlossom())
    const response = await gateway(new Request('http://localhost/openapi.json'))
    const { components } = (await response.json()) as {
      components: { schemas: Record<string, BodySchema> }
    }
    expect(tableOf(name)).toBe(fieldsTable(components.schemas[name]!))
  })

  it('has the options of the gateway', () => {
    const table = /^## Options\n[^|]*((?:^\|.*\n)*)/m.exec(page)?.[1] ?? ''
    const rows = [...table.matchAll(/^\| `(\w+)` \|/gm)].map((match) => match[1])
    let refusal = ''
    try {
      createGateway(createBlossom(), { nonsense: true } as never)
    } catch (error) {
      refusal = (error as Error).message
    }
    expect(rows).toEqual(refusal.replace(/^.*expected one of |\.$/g, '').split(', '))
  })

  it('has the environment variables', () => {
    expect(tableOf('Environment')).toBe(variablesTable(ClientVariables, GatewayVariables))
  })
})
