import { Ajv2020, type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js'
import type { Gateway } from '../../src/gateway/gateway.js'

interface Content {
  readonly schema?: object
  readonly example?: unknown
}
interface Answer {
  readonly $ref?: string
  readonly description?: string
  readonly headers?: Readonly<Record<string, { readonly $ref: string }>>
  readonly content?: Readonly<Record<string, Content>>
}
export interface Described {
  readonly operationId: string
  readonly tags: readonly string[]
  readonly security?: readonly object[]
  readonly requestBody?: { readonly content: Readonly<Record<string, Content>> }
  readonly responses: Readonly<Record<string, Answer>>
}
export interface OpenApi {
  readonly info: { readonly version: string; readonly description: string }
  readonly paths: Readonly<Record<string, Readonly<Record<string, Described>>>>
  readonly components: {
    readonly schemas: Readonly<Record<string, object>>
    readonly responses: Readonly<Record<string, Answer>>
    readonly headers: Readonly<Record<string, { readonly schema: object }>>
    readonly securitySchemes: Readonly<Record<string, object>>
  }
}

/**
 * Objects whose properties are named may have no others, so that no field of an answer is missing
 * from the document.
 */
function closed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(closed)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).map(([name, inner]) => [name, closed(inner)])
  return {
    ...Object.fromEntries(entries),
    ...('properties' in value && { additionalProperties: false }),
  }
}

/** Asks a gateway, without a server around it. A body that is no text is sent as JSON. */
export function send(
  to: Gateway,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Response> {
  const sent =
    body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }
  return to(
    new Request(`http://localhost${path}`, {
      method,
      headers: { 'content-type': 'application/json', ...headers },
      ...sent,
    }),
  )
}

/** An OpenAPI document against which requests and answers are held. */
export class Contract {
  readonly document: OpenApi
  readonly #loose = new Ajv2020({ strict: false, validateFormats: false })
  readonly #exact = new Ajv2020({ strict: false, validateFormats: false })

  constructor(document: OpenApi) {
    this.document = document
    this.#loose.addSchema(document, 'api', undefined, false)
    this.#exact.addSchema(closed(document) as object, 'api', undefined, false)
  }

  /** Each method and path, in order. */
  get operations(): readonly {
    readonly method: string
    readonly path: string
    readonly described: Described
  }[] {
    return Object.entries(this.document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, described]) => ({
        method: method.toUpperCase(),
        path,
        described,
      })),
    )
  }

  /** Judges by a schema of the document, or by one that refers to it. */
  judge(schema: object, exact = false): ValidateFunction {
    return (exact ? this.#exact : this.#loose).compile(
      JSON.parse(JSON.stringify(schema).replaceAll('"#/', '"api#/')),
    )
  }

  #operation(method: string, path: string): Described {
    const described = this.document.paths[path]?.[method.toLowerCase()]
    if (described === undefined) throw new Error(`The document has no ${method} ${path}.`)
    return described
  }

  /** Judges a request's body. */
  requestOf(method: string, path: string): ValidateFunction {
    const schema = this.#operation(method, path).requestBody?.content['application/json']?.schema
    if (schema === undefined) throw new Error(`The document has no body for ${method} ${path}.`)
    return this.judge(schema)
  }

  answerOf(method: string, path: string, status: number): Answer | undefined {
    const answer = this.#operation(method, path).responses[status]
    return answer?.$ref === undefined
      ? answer
      : this.document.components.responses[answer.$ref.split('/').at(-1) ?? '']
  }

  /**
   * What an answer has that the document does not tell, in sentences; reads the body. Upstream's
   * own bodies may have more fields.
   */
  async faultsOf(method: string, path: string, response: Response): Promise<string[]> {
    const answer = this.answerOf(method, path, response.status)
    if (answer === undefined) return [`status ${response.status} is not told of`]
    const faults: string[] = []
    const told = Object.entries(answer.headers ?? {})
    for (const name of response.headers.keys()) {
      const isOurs = /^(x-(?!content-type|accel)|retry-after|server-timing|www-authenticate)/.test(
        name,
      )
      if (isOurs && !told.some(([one]) => one.toLowerCase() === name))
        faults.push(`header ${name} is not told of`)
    }
    for (const [name, { $ref }] of told) {
      const value = response.headers.get(name)
      const schema = this.document.components.headers[$ref.split('/').at(-1) ?? '']?.schema as {
        type: string
      }
      if (value !== null && !this.judge(schema)(schema.type === 'integer' ? Number(value) : value))
        faults.push(`${name}: ${value}`)
    }
    const type = response.headers.get('content-type')?.split(';', 1)[0] ?? ''
    if (type === '' && answer.content === undefined) return faults
    const contents = answer.content ?? {}
    const content = contents[type] ?? contents[`${type.split('/', 1)[0]}/*`]
    if (content === undefined) return [...faults, `content type ${type} is not told of`]
    if (content.schema === undefined) return faults
    const body: unknown = /json$/.test(type) ? await response.json() : await response.text()
    const isUpstreams = path.includes('/v1/') && response.status === 200
    const judge = this.judge(content.schema, !isUpstreams)
    return judge(body) ? faults : [...faults, ...(judge.errors ?? []).map(sentence)]
  }
}

const sentence = ({ instancePath, message, params }: ErrorObject): string =>
  `${instancePath || '(body)'} ${message} ${JSON.stringify(params)}`

/** The document that a gateway serves. */
export const contractOf = async (gateway: Gateway, prefix = ''): Promise<Contract> =>
  new Contract((await (await send(gateway, 'GET', `${prefix}/openapi.json`)).json()) as OpenApi)
