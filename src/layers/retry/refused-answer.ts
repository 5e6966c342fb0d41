import { StackError } from '../../core/index.js'

/** An answer that `accept` has refused, on its way through what repeats failures. */
export class RefusedAnswer extends StackError {
  declare readonly answer: unknown

  constructor(answer: unknown, layer: string) {
    super('The answer was refused by accept().', {
      code: 'PROTOCOL',
      status: 502,
      retryable: true,
      layer,
    })
    // Not enumerable: an error logged whole must not log the answer.
    Object.defineProperty(this, 'answer', { value: answer, enumerable: false })
  }
}
