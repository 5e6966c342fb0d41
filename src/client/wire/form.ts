import { randomUUID } from 'node:crypto'
import { isBytes, ValidationError } from '../../core/index.js'
import type { FileInput } from '../types.js'
import { Upload } from './upload.js'

/** Content type of a file whose type is unknown. */
const UNKNOWN = 'application/octet-stream'

/** A file with its bytes. */
export interface NamedFile {
  readonly filename: string
  readonly type: string
  readonly bytes: Uint8Array
}

/**
 * Reads the bytes of a file passed by the user, with its name and type if it has them.
 * @throws ValidationError if it is not a file
 */
export async function readFile(
  method: string,
  given: FileInput,
  fallback: string,
): Promise<NamedFile> {
  const unnamed = { filename: fallback, type: UNKNOWN }
  if (isBytes(given)) return { ...unnamed, bytes: given }
  const { arrayBuffer, byteLength, name, type } = (given ?? {}) as Partial<File & ArrayBuffer>
  if (typeof byteLength === 'number')
    return { ...unnamed, bytes: new Uint8Array(given as ArrayBuffer) }
  if (typeof arrayBuffer !== 'function')
    throw new ValidationError(
      `${method}: a file must be a Uint8Array, an ArrayBuffer, a Blob or a File.`,
    )
  const bytes = new Uint8Array(await (given as Blob).arrayBuffer())
  return { filename: name || fallback, type: type || UNKNOWN, bytes }
}

/** The boundary and headers before the content of a part. */
export function partHead(boundary: string, name: string, file?: Omit<NamedFile, 'bytes'>): string {
  const disposition = `--${boundary}\r\ncontent-disposition: form-data; name="${escaped(name)}"`
  return file === undefined
    ? `${disposition}\r\n\r\n`
    : `${disposition}; filename="${escaped(file.filename)}"\r\ncontent-type: ${escaped(file.type)}\r\n\r\n`
}

type Field = string | NamedFile

/** Builds a form in memory, so that every attempt sends the same bytes. */
export function formOf(
  fields: readonly (readonly [name: string, value: Field | undefined])[],
): Upload {
  const boundary = `----blossom${randomUUID().replaceAll('-', '')}`
  const parts: Uint8Array[] = []
  for (const [name, value] of fields) {
    if (value === undefined) continue
    if (typeof value === 'string')
      parts.push(Buffer.from(`${partHead(boundary, name)}${value}\r\n`))
    else parts.push(Buffer.from(partHead(boundary, name, value)), value.bytes, Buffer.from('\r\n'))
  }
  parts.push(Buffer.from(`--${boundary}--\r\n`))
  return new Upload(`multipart/form-data; boundary=${boundary}`, Buffer.concat(parts))
}

/** Escapes a value as browsers do. @see https://html.spec.whatwg.org/multipage/form-control-infrastructure.html#multipart-form-data */
const escaped = (text: string): string =>
  text.replace(/["\r\n]/g, (character) => encodeURIComponent(character))
