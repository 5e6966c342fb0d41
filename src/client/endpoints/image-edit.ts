import { isRecord, rules, ValidationError } from '../../core/index.js'
import { checkPrompt, readArguments } from '../arguments.js'
import { ProtocolError } from '../errors.js'
import type { BytesResult, FileInput, ImageEditOptions, JsonAnswer } from '../types.js'
import { formOf, readFile } from '../wire/form.js'
import { Outgoing } from '../wire/outgoing.js'
import { askWithHeaders, dataOf } from './answers.js'
import type { Call } from './call.js'

const METHOD = 'image.edit'
const PATH = '/v1/images/edits'

type EditFields = Pick<ImageEditOptions, 'image' | 'mask' | 'model' | 'size' | 'seed'>

const isFile = (value: unknown) => typeof value === 'object' && value !== null
const isFiles = (value: unknown) =>
  (Array.isArray(value) ? value : [value]).length > 0 &&
  [value].flat().every((one) => isFile(one) || (typeof one === 'string' && one !== ''))

const editRules = {
  image: rules.required(
    rules.custom<ImageEditOptions['image'], undefined>(
      'a file or an address, or a list of them',
      undefined,
      isFiles,
    ),
  ) as rules.Rule<ImageEditOptions['image']>,
  mask: rules.custom<FileInput, undefined>('a file', undefined, isFile),
  model: rules.text(undefined),
  size: rules.text(undefined),
  seed: rules.integer(undefined, {}),
}

/** `image.edit`. */
export async function editImage(
  call: Call,
  prompt: string,
  options: ImageEditOptions,
): Promise<BytesResult> {
  const { fields, call: callOptions } = readArguments<EditFields>(METHOD, options, editRules)
  const request = await requestOf(checkPrompt(METHOD, prompt), fields)
  const { answer, headers } = await askWithHeaders<JsonAnswer>(call, request, callOptions)
  return { ...pictureIn(dataOf(answer)), headers }
}

async function requestOf(
  prompt: string,
  { image, mask, model, size, seed }: EditFields,
): Promise<Outgoing> {
  const images = [image].flat() as readonly (FileInput | string)[]
  const response_format = 'b64_json'
  const addresses = images.filter((one) => typeof one === 'string')
  if (addresses.length === images.length && mask === undefined) {
    const body = { model, prompt, image: addresses, size, seed, response_format }
    return new Outgoing('POST', PATH, body, 'json')
  }
  if (addresses.length > 0)
    throw new ValidationError(
      `${METHOD}: pass either files only or addresses only; with a mask, files only.`,
    )
  const files = await Promise.all(
    images.map((one, i) => readFile(METHOD, one as FileInput, `image-${i}.png`)),
  )
  const upload = formOf([
    ['model', model],
    ['prompt', prompt],
    ['size', size],
    ['seed', seed === undefined ? undefined : String(seed)],
    ['response_format', response_format],
    ...files.map((file) => [files.length === 1 ? 'image' : 'image[]', file] as const),
    ['mask', mask === undefined ? undefined : await readFile(METHOD, mask, 'mask.png')],
  ])
  return new Outgoing('POST', PATH, { model }, 'json', { upload })
}

/** The first bytes of the image formats that models return. */
const FORMATS: readonly (readonly [type: string, beginning: string])[] = [
  ['image/png', '\x89PNG'],
  ['image/jpeg', '\xff\xd8\xff'],
  ['image/webp', 'RIFF'],
  ['image/gif', 'GIF8'],
]

function pictureIn(answer: unknown): Omit<BytesResult, 'headers'> {
  const [first] = isRecord(answer) && Array.isArray(answer.data) ? answer.data : []
  const encoded: unknown = isRecord(first) ? first.b64_json : undefined
  const bytes = Buffer.from(typeof encoded === 'string' ? encoded : '', 'base64')
  if (bytes.length === 0)
    throw new ProtocolError('Upstream answered with something other than an image in base64.')
  const begun = bytes.toString('latin1', 0, 4)
  const [contentType = 'application/octet-stream'] =
    FORMATS.find(([, beginning]) => begun.startsWith(beginning)) ?? []
  return { bytes, contentType }
}
