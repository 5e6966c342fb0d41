import { inspect } from 'node:util'

/** A key and a prompt as they occur nowhere else. */
export const KEY = 'sk_Verysecret0Key0of0the0tests'
export const PROMPT = 'Marmalade-Zeppelin 4711'

/**
 * Everything a log could get from an error: its words, its stack, its JSON, itself and its causes
 * as Node prints them.
 */
export function everythingOf(error: unknown): string {
  const said: string[] = []
  for (
    let one: unknown = error;
    one !== undefined && one !== null;
    one = (one as { cause?: unknown }).cause
  ) {
    const { message, stack } = one as Error
    said.push(
      String(one),
      message,
      stack ?? '',
      jsonOf(one),
      inspect(one, { depth: 12, maxStringLength: null }),
    )
  }
  return said.join('\n')
}

/** A system's error may hold a circle, such as a certificate that vouches for itself. */
function jsonOf(error: unknown): string {
  try {
    return JSON.stringify(error) ?? ''
  } catch {
    return ''
  }
}
