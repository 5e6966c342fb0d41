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
    `${method}: leave \`stream\` out of the body; use ${group}.${stream ? 'create' : 'stream'} for the other form.`,
  )
}
