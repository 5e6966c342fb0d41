import type { StackError } from '../../../core/index.js'
import { rejection } from '../../rejection.js'

/** The refusal of a field that a chat has nothing for. `param` is its path in the request. */
export const refusal = (param: string, sentence: string): StackError =>
  Object.assign(rejection('VALIDATION', 400, `\`${param}\`: ${sentence}`), { param })

type Body = Readonly<Record<string, unknown>>

/** Nothing is kept here between two calls. */
const STATELESS = 'responses are not stored here; send the whole conversation in `input`.'

/** Fields that would need something kept between calls; absent, null and false ask for nothing. */
const NEEDS_STATE: Readonly<Record<string, string>> = {
  store: 'responses are not stored here; leave it out, or set it to false.',
  previous_response_id: STATELESS,
  conversation: STATELESS,
  prompt: 'prompts are not stored here; send the text in `instructions` and `input`.',
  background: 'responses are not stored here, so none can be fetched later; leave it out.',
}

/** @throws StackError 400 for the first field that needs what a stateless chat does not have */
export function refuseState(body: Body): void {
  for (const [field, sentence] of Object.entries(NEEDS_STATE)) {
    const value = body[field]
    if (value !== undefined && value !== null && value !== false) throw refusal(field, sentence)
  }
  const { truncation } = body
  if (truncation !== undefined && truncation !== null && truncation !== 'disabled')
    throw refusal('truncation', 'nothing is cut off here; leave it out, or set it to "disabled".')
}
