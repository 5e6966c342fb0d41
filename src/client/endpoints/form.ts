import { ValidationError } from '../../core/index.js'

/**
 * Checks that `stream` in a body agrees with the method, whose name decides whether the answer is
 * streamed.
 * @throws ValidationError if it does not
 */
export function checkForm(
  method: string,
  body: Readonly<Record<string, unknown>>,
  stream: boolean,
): void {
  if (body.stream === undefined || body.stream === stream) return
  const [group] = method.split('.')
  throw new ValidationError(
    `${method}: remove \`stream\` from the body, or call ${group}.${stream ? 'create' : 'stream'} instead.`,
  )
}
