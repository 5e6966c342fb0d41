import type { Context } from '../../src/core/index.js'
import { tick } from './fake-timers.js'

/** The numbers from 0 to n - 1. */
export const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i)

/** A function of arrays that writes down what it is asked; `fails` may refuse. */
export function squares(fails: (inputs: readonly number[]) => unknown = () => undefined) {
  const asked: number[][] = []
  const contexts: Context[] = []
  const ask = async (inputs: readonly number[], context: Context): Promise<number[]> => {
    asked.push([...inputs])
    contexts.push(context)
    const error = fails(inputs)
    if (error !== undefined) throw error
    return inputs.map((n) => n * n)
  }
  return { ask, asked, contexts }
}

/** Lets batches go that wait as long as they do by default. */
export const pass = () => tick(5)
