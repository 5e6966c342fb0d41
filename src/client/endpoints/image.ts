import { rules } from '../../core/index.js'
import { checkLength, checkPrompt, pathSegment } from '../arguments.js'
import type { ImageFields } from '../types.js'

const flag = () =>
  rules.custom<boolean, undefined>(
    'true or false',
    undefined,
    (value) => typeof value === 'boolean',
  )

export const imageRules = {
  model: rules.text('flux'),
  width: rules.integer(undefined, { min: 1, max: 16_384 }),
  height: rules.integer(undefined, { min: 1, max: 16_384 }),
  seed: rules.integer(undefined, {}),
  enhance: flag(),
  negativePrompt: rules.text(undefined),
  private: flag(),
  nologo: flag(),
  nofeed: flag(),
  safe: flag(),
  quality: rules.oneOf(['low', 'medium', 'high', 'hd'], undefined),
  image: rules.text(undefined),
  transparent: flag(),
  guidanceScale: rules.number(undefined),
}

const WIRE_NAMES: Readonly<Record<string, string>> = {
  negativePrompt: 'negative_prompt',
  guidanceScale: 'guidance_scale',
}

/** Path and query of an image: the same fields give the same bytes, in a fixed order. */
export function imagePath(method: string, prompt: string, fields: ImageFields): string {
  const query = new URLSearchParams()
  for (const name of Object.keys(imageRules) as (keyof ImageFields)[]) {
    const value = fields[name]
    if (value !== undefined) query.append(WIRE_NAMES[name] ?? name, String(value))
  }
  return checkLength(method, `/image/${pathSegment(method, checkPrompt(method, prompt))}?${query}`)
}
