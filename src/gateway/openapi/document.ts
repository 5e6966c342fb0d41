import { VERSION } from '../../client/version.js'
import type { CheckedGatewayOptions } from '../options.js'
import type { Route } from '../routes/route.js'
import type { Schema } from './answers.js'
import { type Content, type Operation, TAGS } from './operation.js'
import { OPERATIONS } from './operations.js'
import { type FailureStatus, failure, failureName, HEADERS, headersOf } from './responses.js'
import { referredBy, refTo } from './schemas.js'
import { RESUMABLE } from './streams.js'

const SECURITY = {
  adminToken: { type: 'http', scheme: 'bearer', description: "The operator's token." },
  ownKey: { type: 'http', scheme: 'bearer', description: "The caller's own key for upstream." },
}

/** The options that the document depends on. */
type DocumentedOptions = Pick<
  CheckedGatewayOptions,
  'publicPath' | 'bodyLimit' | 'forwardKeys' | 'models' | 'call' | 'streams'
> & {
  /** Whether answers are stored for an `Idempotency-Key`. */
  readonly keepsAnswers: boolean
}

const IDEMPOTENCY_KEY: Schema = {
  name: 'Idempotency-Key',
  in: 'header',
  description:
    'Makes repeating a request safe: the same key, caller and body get the same answer for 24 hours.',
  schema: { type: 'string', minLength: 1, maxLength: 255 },
}

/**
 * Builds the OpenAPI 3.1 document of these routes. The result depends only on the arguments.
 *
 * @see https://spec.openapis.org/oas/v3.1.1.html
 */
export function openApiDocument(routes: readonly Route[], options: DocumentedOptions): Schema {
  const documented = routes.filter((route) => route.undocumented !== true)
  const responses: Record<string, Schema> = {}
  const paths: Record<string, Record<string, Schema>> = {}
  for (const route of documented) {
    const path = options.publicPath + route.path
    paths[path] = {
      ...paths[path],
      [route.method.toLowerCase()]: operationOf(route, options, responses),
    }
  }
  const tags = new Set(documented.map(({ name }) => OPERATIONS[name].tag))
  const text = JSON.stringify([paths, responses])
  return {
    openapi: '3.1.1',
    info: { title: 'Blossom gateway', version: VERSION, description: descriptionOf(options) },
    tags: Object.entries(TAGS).flatMap(([name, description]) =>
      tags.has(name as keyof typeof TAGS) ? [{ name, description }] : [],
    ),
    paths,
    components: {
      schemas: referredBy(text),
      responses,
      headers: Object.fromEntries(
        Object.entries(HEADERS).filter(([name]) => text.includes(`"#/components/headers/${name}"`)),
      ),
      securitySchemes: Object.fromEntries(
        Object.entries(SECURITY).filter(([name]) => text.includes(`"${name}":[]`)),
      ),
    },
  }
}

function descriptionOf({ publicPath, bodyLimit, models }: DocumentedOptions): string {
  const sentences = [
    'Text, images, speech and embeddings from a Blossom server, which is called upstream below.',
    `Bodies are JSON of at most ${bodyLimit} bytes. Unknown fields are ignored; under \`/v1\` they are forwarded to upstream.`,
    "Errors are problem details (RFC 9457); under `/v1` they have OpenAI's format, on `/v1/messages` Anthropic's. Every answer has an `X-Request-Id`.",
    '`GET` routes also answer `HEAD`. Unknown paths are answered with 404, wrong methods with 405 and `Allow`.',
    `If the server accepts WebSockets, there is one at \`${publicPath}/ws/generate\`: send \`{"type": "generate", "prompt": "…"}\` to receive ` +
      '`{"type": "result", "text": "…"}` or `{"type": "error", "message": "…"}`.',
    ...(models === undefined
      ? []
      : [`Models: ${models.map((model) => `\`${model}\``).join(', ')}.`]),
  ]
  return sentences.join('\n\n')
}

/** Builds one operation, and adds the responses that it refers to to `responses`. */
function operationOf(
  route: Route,
  options: DocumentedOptions,
  responses: Record<string, Schema>,
): Schema {
  const operation: Operation = OPERATIONS[route.name]
  const { summary, description, tag, request } = operation
  const bearer = bearerOf(route, operation, options)
  const parameters = parametersOf(route, operation, options)
  return {
    operationId: route.name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase()),
    summary,
    ...(description && { description }),
    tags: [tag],
    ...(bearer && { security: bearer }),
    ...(parameters.length > 0 && { parameters }),
    ...(request && {
      requestBody: {
        required: true,
        content: {
          [request.type ?? 'application/json']: {
            schema: refTo(request.schema),
            ...(request.example !== undefined && { example: request.example }),
          },
        },
      },
    }),
    responses: responsesOf(route, options, responses),
  }
}

/**
 * The security schemes of a route; `undefined` if only the option `call` decides who may use it.
 */
function bearerOf(
  route: Route,
  { needsAdmin, needsTenant }: Operation,
  { forwardKeys }: DocumentedOptions,
): readonly Schema[] | undefined {
  if (needsAdmin) return [{ adminToken: [] }]
  if (needsTenant) return [{ adminToken: [] }, {}]
  return forwardKeys && takesKey(route) ? [{ ownKey: [] }, {}] : undefined
}

function parametersOf(
  route: Route,
  { query = [], parameters = [] }: Operation,
  options: DocumentedOptions,
): readonly Schema[] {
  const id = { name: 'id', in: 'path', required: true, schema: { type: 'string' } }
  return [
    ...(route.path.includes('{id}') ? [id] : []),
    ...parameters,
    ...(canResume(route, options) ? [RESUMABLE] : []),
    ...(isRepeatable(route, options) ? [IDEMPOTENCY_KEY] : []),
    ...query.map((field) => ({ in: 'query', ...field })),
  ]
}

/** Whether the route fails if upstream fails; `/generate/batch` does not. */
const failsWithUpstream = ({ name }: Route): boolean => OPERATIONS[name].failures.includes(502)
/** Whether the streams of the route can be resumed. */
const canResume = (route: Route, { streams }: DocumentedOptions): boolean =>
  streams !== undefined && route.spends && 'text/event-stream' in OPERATIONS[route.name].success
/** Whether the route accepts an `Idempotency-Key`. */
const isRepeatable = ({ name, method, spends }: Route, { keepsAnswers }: DocumentedOptions) => {
  const { request }: Operation = OPERATIONS[name]
  return keepsAnswers && method === 'POST' && spends && request?.type === undefined
}
const takesKey = (route: Route): boolean => route.spends || failsWithUpstream(route)

function responsesOf(
  route: Route,
  options: DocumentedOptions,
  shared: Record<string, Schema>,
): Schema {
  const { forwardKeys, call } = options
  const operation: Operation = OPERATIONS[route.name]
  const { success, empty } = operation
  const headers = [...(operation.headers ?? [])]
  if (canResume(route, options)) headers.push('StreamId')
  const all: Record<string, Schema> = {}
  if (Object.keys(success).length > 0)
    all[200] = {
      description: 'The answer.',
      headers: headersOf(...headers),
      content: success satisfies Record<string, Content>,
    }
  if (empty !== undefined) all[204] = { description: empty, headers: headersOf(...headers) }
  const keyFailures: readonly FailureStatus[] =
    forwardKeys && failsWithUpstream(route) ? [401, 402, 403] : []
  const conflicts: readonly FailureStatus[] = isRepeatable(route, options) ? [409] : []
  for (const status of [...operation.failures, ...keyFailures, ...conflicts]) {
    const name = failureName(status, route.dialect)
    shared[name] ??= failure(status, route.dialect)
    const meaning = operation.meanings?.[status]
    all[status] = {
      $ref: `#/components/responses/${name}`,
      ...(meaning && { description: meaning }),
    }
  }
  const { unavailable } = operation
  if (unavailable) {
    const content = { 'application/json': { schema: refTo(unavailable.schema) } }
    all[503] = { description: unavailable.description, headers: headersOf(), content }
  }
  // A `Response` from the option `call` may have any body.
  if (call && !route.anyone)
    for (const status of [401, 403]) all[status] ??= { description: 'Access denied.' }
  return all
}
