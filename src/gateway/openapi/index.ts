import { VERSION } from '../../client/version.js'
import type { CheckedGatewayOptions } from '../options.js'
import type { Route, RouteTools } from '../routes/route.js'
import type { Routing } from '../routes/routing.js'
import { type Content, OPERATIONS, type Operation, TAGS } from './operations.js'
import { type FailureStatus, failure, failureName, HEADERS, headersOf } from './responses.js'
import { referredBy, refTo, type Schema } from './schemas.js'

const SECURITY = {
  adminToken: { type: 'http', scheme: 'bearer', description: "The owner's token." },
  ownKey: { type: 'http', scheme: 'bearer', description: "A visitor's own key for upstream." },
}

/** What the document is made from. */
type DocumentedOptions = Pick<
  CheckedGatewayOptions,
  'publicPath' | 'bodyLimit' | 'forwardKeys' | 'models' | 'call'
>

/**
 * The OpenAPI 3.1 document of these routes. The same routes and options give the same document.
 *
 * @see https://spec.openapis.org/oas/v3.1.1.html
 */
function openApiDocument(routes: readonly Route[], options: DocumentedOptions): Schema {
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
  const said = JSON.stringify([paths, responses])
  return {
    openapi: '3.1.1',
    info: { title: 'Blossom gateway', version: VERSION, description: descriptionOf(options) },
    tags: Object.entries(TAGS).flatMap(([name, description]) =>
      tags.has(name as keyof typeof TAGS) ? [{ name, description }] : [],
    ),
    paths,
    components: {
      schemas: referredBy(said),
      responses,
      headers: Object.fromEntries(
        Object.entries(HEADERS).filter(([name]) => said.includes(`"#/components/headers/${name}"`)),
      ),
      securitySchemes: Object.fromEntries(
        Object.entries(SECURITY).filter(([name]) => said.includes(`"${name}":[]`)),
      ),
    },
  }
}

function descriptionOf({ publicPath, bodyLimit, models }: DocumentedOptions): string {
  const sentences = [
    'Text, pictures, speech and embeddings from a Blossom upstream.',
    `Bodies are JSON of at most ${bodyLimit} bytes. Unknown fields are ignored, but under \`/v1\` they go to upstream.`,
    "Errors are problem details (RFC 9457), and have OpenAI's shape under `/v1`. Every answer carries `X-Request-Id`.",
    'Routes with `GET` answer `HEAD` too. An unknown path is 404, a wrong method 405 with `Allow`.',
    `Where the server takes WebSockets, there is one at \`${publicPath}/ws/generate\`: say \`{"type": "generate", "prompt": "…"}\` and hear ` +
      '`{"type": "result", "text": "…"}` or `{"type": "error", "message": "…"}`.',
    ...(models === undefined
      ? []
      : [`Models: ${models.map((model) => `\`${model}\``).join(', ')}.`]),
  ]
  return sentences.join('\n\n')
}

/** Adds to `responses` what the operation refers to. */
function operationOf(
  route: Route,
  options: DocumentedOptions,
  responses: Record<string, Schema>,
): Schema {
  const { summary, description, tag, request, needsAdmin } = OPERATIONS[route.name]
  const bearer = needsAdmin
    ? [{ adminToken: [] }]
    : options.forwardKeys && takesKey(route)
      ? [{ ownKey: [] }, {}]
      : undefined
  return {
    operationId: route.name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase()),
    summary,
    ...(description && { description }),
    tags: [tag],
    ...(bearer && { security: bearer }),
    ...(request && {
      requestBody: {
        required: true,
        content: {
          'application/json': { schema: refTo(request.schema), example: request.example },
        },
      },
    }),
    responses: responsesOf(route, options, responses),
  }
}

/** Whether it fails when upstream does; a batch does not. */
const failsWithUpstream = ({ name }: Route): boolean => OPERATIONS[name].failures.includes(502)
const takesKey = (route: Route): boolean => route.spends || failsWithUpstream(route)

function responsesOf(
  route: Route,
  { forwardKeys, call }: DocumentedOptions,
  shared: Record<string, Schema>,
): Schema {
  const operation: Operation = OPERATIONS[route.name]
  const all: Record<string, Schema> = {
    200: {
      description: 'The answer.',
      headers: headersOf(...(operation.headers ?? [])),
      content: operation.success satisfies Record<string, Content>,
    },
  }
  const keyFailures: readonly FailureStatus[] =
    forwardKeys && failsWithUpstream(route) ? [401, 402, 403] : []
  for (const status of [...operation.failures, ...keyFailures]) {
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
  // The owner's own refusal may be anything.
  if (call && !route.anyone)
    for (const status of [401, 403]) all[status] ??= { description: 'The server does not let you.' }
  return all
}

/** `/openapi.json`: the document as text, made when it is first asked for. */
export function openApiRoute(
  core: Pick<RouteTools, 'options'> & { readonly routing: Routing },
): Route {
  let text: string | undefined
  return {
    name: 'openapi',
    method: 'GET',
    path: '/openapi.json',
    dialect: 'guide',
    spends: false,
    async handle() {
      text ??= JSON.stringify(openApiDocument(core.routing.all, core.options))
      return {
        status: 200,
        headers: { 'content-type': 'application/json; charset=utf-8' },
        body: text,
      }
    },
  }
}
