import type { Schema } from './answers.js'
import type { FailureStatus, HeaderName } from './responses.js'
import { refTo, type SchemaName } from './schemas.js'

/** The groups of routes, with their descriptions. */
export const TAGS = {
  Generation: 'Generate text from a prompt.',
  OpenAI: "OpenAI's API: point any OpenAI client here.",
  Batches: 'Many calls in one file, answered within 24 hours.',
  State: 'Health and statistics of the server.',
  Administration: 'Routes for the operator.',
  Documentation: 'This document and a page that shows it.',
} as const

export interface Content {
  readonly schema?: Schema
  readonly example?: unknown
}

/** A route's part of the document, except for its path and method. */
export interface Operation {
  readonly summary: string
  readonly description?: string
  readonly tag: keyof typeof TAGS
  readonly request?: {
    readonly schema: SchemaName
    readonly example?: unknown
    /** @default 'application/json' */
    readonly type?: 'multipart/form-data'
  }
  /** Query parameters. */
  readonly query?: readonly { readonly name: string; readonly schema: Schema }[]
  /** Bodies of a successful answer, by media type. */
  readonly success: Readonly<Record<string, Content>>
  readonly failures: readonly FailureStatus[]
  /** Descriptions of statuses whose meaning differs on this route. */
  readonly meanings?: Readonly<Partial<Record<FailureStatus, string>>>
  /** The body of a 503 that is not an error. */
  readonly unavailable?: { readonly schema: SchemaName; readonly description: string }
  readonly headers?: readonly HeaderName[]
  readonly needsAdmin?: boolean
  /** Callers without a tenant need the admin token. */
  readonly needsTenant?: boolean
  /** Parameters other than the id in the path and the query parameters. */
  readonly parameters?: readonly Schema[]
  /** Description of the status 204, an answer without a body. */
  readonly empty?: string
}

/** A successful answer with a JSON body. */
export const asJson = (schema: SchemaName, example?: unknown): Operation['success'] => ({
  'application/json': { schema: refTo(schema), ...(example !== undefined && { example }) },
})
