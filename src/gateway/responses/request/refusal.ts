import type { StackError } from '../../../core/index.js'
import { rejection } from '../../rejection.js'

/** The error for an unsupported field. `param` is its path in the request. */
export const refusal = (param: string, sentence: string): StackError =>
  Object.assign(rejection('VALIDATION', 400, `\`${param}\`: ${sentence}`), { param })

type Body = Readonly<Record<string, unknown>>

/** Message for fields that would need stored responses. */
const STATELESS = 'responses are not stored here. Send the whole conversation in `input`.'

/** Messages for fields that need stored state. They are allowed if absent, null or false. */
const NEEDS_STATE: Readonly<Record<string, string>> = {
  store: 'responses are not stored here. Leave it out, or set it to false.',
  previous_response_id: STATELESS,
  conversation: STATELESS,
  prompt: 'prompts are not stored here. Send the text in `instructions` and `input`.',
  background: 'responses are not stored here, so none can be fetched later. Leave it out.',
}

/** @throws StackError with status 400 for the first field that needs stored state */
export function refuseState(body: Body): void {
  for (const [field, sentence] of Object.entries(NEEDS_STATE)) {
    const value = body[field]
    if (value !== undefined && value !== null && value !== false) throw refusal(field, sentence)
  }
  const { truncation } = body
  if (truncation !== undefined && truncation !== null && truncation !== 'disabled')
    throw refusal(
      'truncation',
      'truncation is not supported. Leave it out or set it to "disabled".',
    )
}
