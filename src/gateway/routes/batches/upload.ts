import { once } from 'node:events'
import type { BusboyFileStream, BusboyInstance } from '@fastify/busboy'
import { isStackError, ValidationError } from '../../../core/index.js'
import { type Incoming, refuseCompressed, tooLarge, unsupported } from '../../server/message.js'
import { loadFormParser } from '../form-parser.js'

/** The fields of an upload. */
export interface Upload {
  readonly filename: string
  readonly fields: ReadonlyMap<string, string>
}

const LIMITS = { files: 1, fields: 10, parts: 20, fieldSize: 1_024, headerSize: 8_192 }

/** Loads the form parser. @throws ConfigError if its package is missing */
export const loadParser = () => loadFormParser('option "batches"')

/**
 * Reads a multipart body with one file, which is passed to `keep` as it arrives. The file's bytes
 * end only when the whole body has arrived, so an error in a later part of the body also fails the
 * file.
 *
 * @param check checks the fields, once all of them have arrived
 */
export async function receiveFile<T>(
  incoming: Incoming,
  limit: number,
  check: (upload: Upload) => void,
  keep: (bytes: AsyncIterable<Uint8Array>, upload: () => Upload) => Promise<T>,
): Promise<T> {
  if (Number(incoming.header('content-length') ?? 0) > limit) throw tooLarge(limit)
  const type = incoming.header('content-type') ?? ''
  if (!/^multipart\/form-data\b/i.test(type))
    throw unsupported('The body must be a form with a file: send it as multipart/form-data.')
  refuseCompressed(incoming)
  const form = new Form(await openParser(type), check)
  const kept = keep(form.file(), () => form.upload)
  // If storing the file fails, its bytes are no longer read and the form would wait forever.
  const failed = kept.then(
    () => {},
    (error: unknown) => form.fail(error),
  )
  try {
    await form.read(incoming.parts(limit))
  } catch (error) {
    form.fail(error)
  }
  await failed
  return kept
}

async function openParser(type: string): Promise<BusboyInstance> {
  const Busboy = await loadParser()
  try {
    return new Busboy({ headers: { 'content-type': type }, limits: LIMITS })
  } catch {
    throw notValid()
  }
}

const notValid = () => new ValidationError('The body is not a valid multipart/form-data form.')

/** A multipart body as it arrives. */
class Form {
  readonly #parser: BusboyInstance
  readonly #check: (upload: Upload) => void
  readonly #fields = new Map<string, string>()
  #filename = ''
  #stream: BusboyFileStream | undefined
  /** The file's bytes, once its part has begun. */
  readonly #opened: Promise<AsyncIterable<Uint8Array>>
  /** Resolves when the whole body has been read; rejects with the first error. */
  readonly #ended: Promise<void>
  fail!: (error: unknown) => void
  #failure: { readonly error: unknown } | undefined

  constructor(parser: BusboyInstance, check: (upload: Upload) => void) {
    this.#parser = parser
    this.#check = check
    let open = (_: AsyncIterable<Uint8Array>): void => {}
    const opened = new Promise<AsyncIterable<Uint8Array>>((resolve) => {
      open = resolve
    })
    this.#ended = new Promise((resolve, reject) => {
      this.fail = (error) => {
        this.#failure ??= { error }
        reject(this.#failure.error)
        parser.destroy()
        // Nothing else would end the file's stream.
        this.#stream?.destroy()
      }
      parser.on('finish', resolve)
    })
    this.#ended.catch(() => {})
    this.#opened = Promise.race([opened, this.#ended.then(() => none())])
    this.#opened.catch(() => {})
    parser.on('error', () => this.fail(notValid()))
    parser.on('field', (name, value) => this.#fields.set(name, value))
    parser.on('file', (name, stream, filename) => {
      // Errors after the reader has stopped do not matter.
      stream.on('error', () => {})
      if (name !== 'file') {
        stream.resume()
        return
      }
      this.#filename = filename ?? ''
      this.#stream = stream
      open(stream)
    })
  }

  get upload(): Upload {
    return { filename: this.#filename, fields: this.#fields }
  }

  /** The file's bytes. They end when the whole body has arrived. */
  async *file(): AsyncGenerator<Uint8Array, undefined, undefined> {
    try {
      for await (const part of await this.#opened) yield part
    } catch (error) {
      // Report the reason for which the stream was destroyed, not the stream's own error.
      this.fail(isStackError(error) ? error : notValid())
      throw this.#failure?.error
    }
    await this.#ended
    this.#check(this.upload)
    return undefined
  }

  async read(parts: AsyncIterable<Uint8Array>): Promise<void> {
    for await (const part of parts) {
      if (this.#failure !== undefined) throw this.#failure.error
      if (!this.#parser.write(part)) await Promise.race([once(this.#parser, 'drain'), this.#ended])
    }
    this.#parser.end()
    await this.#ended
  }
}

/** A body without a file. */
async function* none(): AsyncGenerator<Uint8Array, undefined, undefined> {
  yield* []
  throw new ValidationError('The form has no file: send it in the field "file".')
}
