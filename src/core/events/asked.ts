import type { BaseFacts } from '../traits.js'

/** What a base knows about a request, for events. */
export interface RequestInfo {
  readonly operation: string | undefined
  readonly model: string | undefined
  readonly stream: boolean | undefined
  readonly tenant: string | undefined
}

/** Longer names are cut, because callers choose them. Characters. */
const LONGEST_NAME = 128

/** Collects what a base knows about a request. */
export function requestInfoOf(
  base: BaseFacts,
  request: unknown,
  tenant: string | undefined,
): RequestInfo {
  const stream: unknown = base.streams?.(request)
  return {
    operation: nameIn(base.operation(request)),
    model: nameIn(base.model?.(request)),
    stream: typeof stream === 'boolean' ? stream : undefined,
    tenant: nameIn(tenant),
  }
}

/** A name of at most 128 characters; undefined for anything else that a trait may return. */
export function nameIn(value: unknown): string | undefined {
  if (typeof value !== 'string' || value === '') return undefined
  return value.length > LONGEST_NAME ? value.slice(0, LONGEST_NAME) : value
}
