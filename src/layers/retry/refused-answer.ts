import { StackError } from '../../core/index.js'

/** Carries an answer that `accept` rejected through the code that handles failures. */
export class RefusedAnswer extends StackError {
  declare readonly answer: unknown

  constructor(answer: unknown, layer: string) {
    super('The answer was rejected by accept().', {
      code: 'PROTOCOL',
      status: 502,
      retryable: true,
      layer,
    })
    // Not enumerable, because logging the error must not log the answer.
    Object.defineProperty(this, 'answer', { value: answer, enumerable: false })
  }
}
