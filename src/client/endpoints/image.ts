import { check, rules, ValidationError } from '../../core/index.js'
import { checkLength, checkPrompt, pathSegment, readArguments } from '../arguments.js'
import type { Blossom } from '../interface.js'
import type { ImageFields } from '../types.js'
import { Outgoing } from '../wire/outgoing.js'
import { bytesFrom } from './answers.js'
import type { Call } from './call.js'
import { editImage } from './image-edit.js'

const flag = () =>
  rules.custom<boolean, undefined>(
    'true or false',
    undefined,
    (value) => typeof value === 'boolean',
  )

const imageRules = {
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

/**
 * Path and query of an image. The order of the fields is fixed, so equal requests are cached as
 * one.
 */
function imagePath(method: string, prompt: string, fields: ImageFields): string {
  const query = new URLSearchParams()
  for (const name of Object.keys(imageRules) as (keyof ImageFields)[]) {
    const value = fields[name]
    if (value !== undefined) query.append(WIRE_NAMES[name] ?? name, String(value))
  }
  return checkLength(method, `/image/${pathSegment(method, checkPrompt(method, prompt))}?${query}`)
}

/** `image.generate`, `image.edit` and `image.url`; `root` is the client's base URL. */
export function imageEndpoints(call: Call, root: string): Blossom['image'] {
  return {
    generate: async (prompt, options) => {
      const { fields, call: callOptions } = readArguments<ImageFields>(
        'image.generate',
        options,
        imageRules,
      )
      const path = imagePath('image.generate', prompt, fields)
      return bytesFrom(call, new Outgoing('GET', path, undefined, 'bytes'), callOptions)
    },
    edit: (prompt, options) => editImage(call, prompt, options),
    url: (prompt, options) => {
      const fail = (sentence: string) => new ValidationError(sentence)
      const fields = check<ImageFields>('image.url', options, imageRules, fail)
      return `${root}${imagePath('image.url', prompt, fields)}`
    },
  }
}
