import { check, isRecord, rules, ValidationError } from '../../core/index.js'
import { checkPath } from '../arguments.js'
import type { Blossom } from '../interface.js'
import type { BlossomAnswer, BlossomCallOptions, RawRequest } from '../types.js'
import { Outgoing } from '../wire/outgoing.js'
import { bytesOf, dataOf } from './answers.js'
import type { Call } from './call.js'

const rawRules = {
  method: rules.oneOf(['GET', 'POST', 'PUT', 'PATCH', 'DELETE'], undefined),
  path: rules.required(rules.anything<string>()) as rules.Rule<string>,
  body: rules.custom<Readonly<Record<string, unknown>>, undefined>(
    'an object',
    undefined,
    isRecord,
  ),
}

/** Headers that the gateway sends with a body, or an upload that it sends instead of one. */
export type RawExtras = Pick<Outgoing, 'headers'> | Pick<Outgoing, 'upload'>

/** Sends a request to any path and returns JSON unparsed and streams as frames. */
export async function askRaw(
  call: Call,
  raw: RawRequest,
  options: BlossomCallOptions,
  more?: RawExtras,
): Promise<BlossomAnswer> {
  const { method, path, body } = check<RawRequest>(
    'request',
    raw,
    rawRules,
    (sentence) => new ValidationError(sentence),
  )
  const request = new Outgoing(
    method ?? (body === undefined ? 'GET' : 'POST'),
    checkPath(path),
    body,
    'any',
    more,
  )
  return call<BlossomAnswer>(request, options)
}

/** `request`. */
export function rawEndpoint(call: Call): Blossom['request'] {
  return async <Answer>(raw: RawRequest, options: BlossomCallOptions = {}) => {
    const answer = await askRaw(call, raw, options)
    if ('data' in answer) return dataOf(answer) as Answer
    return ('bytes' in answer ? bytesOf(answer) : answer) as Answer
  }
}
