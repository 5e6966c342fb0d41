import { type JsonSchema, toJsonSchemaDefs } from '@valibot/to-json-schema'
import {
  BatchCreateRequest,
  BatchRequest,
  ChatRequest,
  CompletionsRequest,
  EmbeddingsRequest,
  GenerateRequest,
  ImagesRequest,
  MessagesRequest,
  ModerationsRequest,
  ResponsesRequest,
  SpeechRequest,
} from '../schemas.js'
import { ANSWERS, type Schema } from './answers.js'

const REQUESTS = {
  GenerateRequest,
  BatchRequest,
  ChatRequest,
  ResponsesRequest,
  MessagesRequest,
  CompletionsRequest,
  EmbeddingsRequest,
  ModerationsRequest,
  ImagesRequest,
  SpeechRequest,
  BatchCreateRequest,
}

export type SchemaName = keyof typeof REQUESTS | keyof typeof ANSWERS

const SCHEMAS: Readonly<Record<string, object>> = {
  ...toJsonSchemaDefs(REQUESTS, {
    target: 'draft-2020-12',
    // The validation message already describes the items.
    ignoreActions: ['every_item'],
    overrideSchema: ({ jsonSchema }) => orNull(jsonSchema),
  }),
  ...ANSWERS,
}

/** `{ type: ['integer', 'null'] }` for `{ anyOf: [{ type: 'integer' }, { type: 'null' }] }`. */
function orNull({ anyOf = [], ...rest }: JsonSchema): JsonSchema | undefined {
  const [schema, other] = anyOf as JsonSchema[]
  return typeof schema?.type === 'string' && other?.type === 'null'
    ? { ...schema, ...rest, type: [schema.type, 'null'] }
    : undefined
}

export const refTo = (name: SchemaName): Schema => ({ $ref: `#/components/schemas/${name}` })

/** The schemas to which the JSON text refers, directly or through another schema. */
export function referredBy(json: string): Readonly<Record<string, object>> {
  const used = new Set<string>()
  const visit = (text: string) => {
    for (const [, name = ''] of text.matchAll(/"#\/components\/schemas\/(\w+)"/g)) {
      if (used.has(name)) continue
      used.add(name)
      visit(JSON.stringify(SCHEMAS[name]))
    }
  }
  visit(json)
  return Object.fromEntries(Object.entries(SCHEMAS).filter(([name]) => used.has(name)))
}
