import type { SharedJobs } from '../core/index.js'
import type { KeptResult } from './line.js'
import type { NewLine } from './lines.js'
import type { BatchEndpoint, Batches, BatchStatus } from './types.js'

export type { KeptResult } from './line.js'

/** Key of the internal methods of batches, for the gateway. */
export const BATCHES: unique symbol = Symbol.for('blossom-stack.batches') as never

/** The routes that batches may call. */
export const ENDPOINTS = [
  '/v1/chat/completions',
  '/v1/embeddings',
  '/v1/images/generations',
] as const satisfies readonly BatchEndpoint[]

/** The data of a new batch, without its lines. */
export interface BatchOrder {
  readonly id: string
  readonly owner: string
  readonly endpoint: BatchEndpoint
  /** Data to store with the batch. */
  readonly more?: unknown
}

/** The internal methods of batches, for the gateway. */
export interface BatchesInternals {
  readonly jobs: SharedJobs
  readonly keepMs: number
  /** Accepts a batch atomically: all lines or none. */
  accept(
    order: BatchOrder,
    lines: Iterable<NewLine> | AsyncIterable<NewLine>,
  ): Promise<'added' | 'same' | 'other'>
  /** Stores a batch whose input was invalid. */
  reject(order: BatchOrder): Promise<void>
  /** Queries the storage. @throws StackError with status 503 if it is unavailable */
  ask<T>(question: () => Promise<T>): Promise<T>
  statusOf(state: { readonly status: string }): BatchStatus['status']
  /** A line of an output file. */
  toOutputLine(batch: string, result: KeptResult): string
}

/** Whether a value is from `createBatches()`, of this or another copy of the library. */
export function isBatches(value: unknown): value is Batches & { [BATCHES]: BatchesInternals } {
  return typeof value === 'object' && value !== null && BATCHES in value
}
