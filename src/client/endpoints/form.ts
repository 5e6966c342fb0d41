import { ValidationError } from '../../core/index.js'

/**
 * Whether an answer is streamed is said by the name of the method.
 * @throws ValidationError when the body says otherwise
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
