import { type BaseFacts, hookFailed } from '../../core/index.js'
import { chunksOf, type StoredAnswer, valuesOf } from '../stored-form.js'

/** Checks an answer from outside the process with the base's own traits. */
export function isSound(answer: StoredAnswer, { valid, complete }: BaseFacts): boolean {
  if (answer.form === 'value') return valid(answer.value.take())
  return complete(valuesOf(chunksOf(answer)))
}

/** Calls a trait. An error counts as false, with a warning. */
export function judge(name: string, ask: () => boolean): boolean {
  try {
    return ask()
  } catch (error) {
    hookFailed(`cache: ${name}`, error)
    return false
  }
}
