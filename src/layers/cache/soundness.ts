import { type BaseFacts, hookFailed } from '../../core/index.js'
import { chunksOf, type StoredAnswer, valuesOf } from '../stored-form.js'

/** What comes from outside the process is judged as if it had come from the base. */
export function isSound(answer: StoredAnswer, { valid, complete }: BaseFacts): boolean {
  if (answer.form === 'value') return valid(answer.value.take())
  return complete(valuesOf(chunksOf(answer)))
}

/** What a base says of an answer. One that throws says no, with a warning. */
export function judge(name: string, ask: () => boolean): boolean {
  try {
    return ask()
  } catch (error) {
    hookFailed(`cache: ${name}`, error)
    return false
  }
}
