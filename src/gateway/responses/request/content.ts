import { isRecord } from '../../../core/index.js'
import { refusal } from './refusal.js'

type Fields = Readonly<Record<string, unknown>>

/** Content of a chat message: text or parts. */
export type ChatContent = string | readonly Fields[]

const FILES = 'files are not stored here. Send the content itself.'

/** Converts the content of a user or system message. */
export function contentOf(content: unknown, at: string): ChatContent {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) throw refusal(at, 'must be a string or a list of parts.')
  const parts = content.map((part, index) => partOf(part, `${at}[${index}]`))
  const [only] = parts
  return parts.length === 1 && only?.type === 'text' ? String(only.text) : parts
}

function partOf(part: unknown, at: string): Fields {
  if (!isRecord(part)) throw refusal(at, 'must be an object.')
  switch (part.type) {
    case 'input_text':
    case 'output_text':
    case 'text':
      return { type: 'text', text: textOf(part.text, `${at}.text`) }
    case 'input_image':
      return imageOf(part, at)
    case 'input_file':
      return fileOf(part, at)
    case 'input_audio':
      return { type: 'input_audio', input_audio: part.input_audio }
    default:
      throw refusal(`${at}.type`, 'parts of this type are not supported.')
  }
}

function textOf(text: unknown, at: string): string {
  if (typeof text !== 'string') throw refusal(at, 'must be a string.')
  return text
}

function imageOf({ image_url, file_id, detail }: Fields, at: string): Fields {
  if (file_id !== undefined && file_id !== null) throw refusal(`${at}.file_id`, FILES)
  if (typeof image_url !== 'string')
    throw refusal(`${at}.image_url`, 'must be the URL of an image, or a data URL.')
  const isKnown = detail === 'low' || detail === 'high' || detail === 'auto'
  return { type: 'image_url', image_url: { url: image_url, ...(isKnown && { detail }) } }
}

function fileOf({ file_data, file_id, file_url, filename }: Fields, at: string): Fields {
  if (file_id !== undefined && file_id !== null) throw refusal(`${at}.file_id`, FILES)
  if (file_url !== undefined && file_url !== null)
    throw refusal(`${at}.file_url`, 'a chat cannot fetch files. Send its data in `file_data`.')
  if (typeof file_data !== 'string')
    throw refusal(`${at}.file_data`, 'must be a data URL with the content of the file.')
  return { type: 'file', file: { file_data, ...(typeof filename === 'string' && { filename }) } }
}

/** The text and the refusal of an assistant message, which a chat has in separate fields. */
export function assistantContentOf(
  content: unknown,
  at: string,
): { text: string; refused: string } {
  if (typeof content === 'string') return { text: content, refused: '' }
  if (!Array.isArray(content)) throw refusal(at, 'must be a string or a list of parts.')
  let text = ''
  let refused = ''
  content.forEach((part: unknown, index) => {
    const here = `${at}[${index}]`
    if (isRecord(part) && part.type === 'refusal')
      refused += textOf(part.refusal, `${here}.refusal`)
    else {
      const { type, text: more } = partOf(part, here)
      if (type !== 'text') throw refusal(`${here}.type`, 'an assistant message must be text only.')
      text += String(more)
    }
  })
  return { text, refused }
}

/** The output of a function as text. */
export function outputOf(output: unknown, at: string): string {
  if (typeof output === 'string') return output
  if (!Array.isArray(output)) throw refusal(at, 'must be a string or a list of parts.')
  return output
    .map((part, index) => {
      const here = `${at}[${index}]`
      const { type, text } = partOf(part, here)
      if (type !== 'text') throw refusal(`${here}.type`, 'a function output must be text only.')
      return String(text)
    })
    .join('')
}
