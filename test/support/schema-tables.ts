import * as v from 'valibot'

/** A body of the OpenAPI document. */
export interface BodySchema {
  readonly properties: Readonly<Record<string, PropertySchema>>
  readonly required: readonly string[]
}
interface PropertySchema {
  readonly type: string | readonly string[]
  readonly minimum?: number
  readonly maximum?: number
  readonly minItems?: number
  readonly maxItems?: number
  readonly default?: unknown
  readonly description: string
}

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [`| ${head.join(' | ')} |`, `|${'---|'.repeat(head.length)}`]
    .concat(rows.map((cells) => `| ${cells.join(' | ')} |`))
    .join('\n')

function valuesOf(property: PropertySchema): string {
  const { minimum, maximum, minItems, maxItems } = property
  const [type] = [property.type].flat()
  if (type === 'array') return `list of ${minItems} to ${maxItems} items`
  return type === 'string' ? 'non-empty string' : `${type} from ${minimum} to ${maximum}`
}

/** The fields of a request body, as the gateway's page shows them. */
export const fieldsTable = ({ properties, required }: BodySchema): string =>
  table(
    ['field', 'value', 'default', ''],
    Object.entries(properties).map(([name, property]) => [
      `\`${name}\``,
      valuesOf(property),
      required.includes(name) ? 'required' : String(property.default ?? '–'),
      property.description,
    ]),
  )

type Variables = v.ObjectSchema<
  Readonly<Record<string, v.OptionalSchema<v.GenericSchema<string, unknown>, string | undefined>>>,
  undefined
>

/** Environment variables, as the gateway's page shows them. */
export const variablesTable = (...schemas: readonly Variables[]): string =>
  table(
    ['variable', 'value', 'default', ''],
    Object.entries(Object.assign({}, ...schemas.map(({ entries }) => entries))).map(
      ([name, schema]) => {
        const variable = schema as Variables['entries'][string]
        const { expected, description } = v.getMetadata(variable.wrapped)
        return [
          `\`${name}\``,
          String(expected),
          variable.default === undefined ? '–' : `\`${variable.default}\``,
          String(description),
        ]
      },
    ),
  )
