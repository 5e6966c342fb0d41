import { expect } from 'vitest'
import {
  type BlossomOptions,
  createBlossom,
  type ErrorCode,
  NetworkError,
  ProtocolError,
  retry,
  StackError,
  TimeoutError,
  TooLargeError,
} from '../../../../src/index.js'
import { everythingOf, KEY, PROMPT } from '../../../support/secrets.js'
import { completion } from '../../../support/wire.js'

type Class = abstract new (...args: never[]) => StackError

/** What a call over an upstream must come to. */
export interface Expected {
  readonly code: ErrorCode
  readonly class: Class
  readonly status?: number
  readonly retryable: boolean
}

const failing = (code: ErrorCode, kind: Class, status: number, retryable = true): Expected => ({
  code,
  class: kind,
  status,
  retryable,
})
export const NETWORK = failing('NETWORK', NetworkError, 502)
export const PROTOCOL = failing('PROTOCOL', ProtocolError, 502)
export const TIMEOUT = failing('TIMEOUT', TimeoutError, 504)
export const TOO_LARGE = failing('TOO_LARGE', TooLargeError, 502, false)

const again = () => retry({ retries: 2, minDelayMs: 0, maxDelayMs: 0, budget: false })

/** The client under test: it tries three times where that is right. */
export const clientOf = (baseURL: string, options: Omit<BlossomOptions, 'layers'> = {}) =>
  createBlossom({ baseURL, apiKey: KEY, ...options }).use(again())

export function expectFailure(error: unknown, expected: Expected): asserts error is StackError {
  expect(error).toBeInstanceOf(expected.class)
  expect(error).toBeInstanceOf(StackError)
  expect(error).toBeInstanceOf(Error)
  expect(error).toMatchObject({
    code: expected.code,
    retryable: expected.retryable,
    refused: false,
  })
  if (expected.status !== undefined) expect((error as StackError).status).toBe(expected.status)
  expectSilence(error)
}

/** Neither the key nor the prompt, nor what a library says when it was not prepared. */
function expectSilence(error: unknown): void {
  const said = everythingOf(error)
  for (const secret of [KEY, PROMPT, 'Marmalade', 'Cannot read properties'])
    expect(said).not.toContain(secret)
}

/** A body that is well. */
export const OK = JSON.stringify(completion())
