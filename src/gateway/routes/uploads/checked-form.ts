import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import type { BusboyFileStream, BusboyInstance } from '@fastify/busboy'
import { partHead } from '../../../client/wire/form.js'
import { isStackError, ValidationError } from '../../../core/index.js'
import { loadFormParser } from '../form-parser.js'

const MIB = 1024 * 1024
/** OpenAI's routes accept 16 images and a mask; a prompt may be long. */
const LIMITS = { files: 17, fields: 100, parts: 120, fieldSize: MIB, headerSize: 8_192 }

const notValid = () => new ValidationError('The body is not a valid multipart/form-data form.')

type Part =
  | { readonly name: string; readonly value: string }
  | {
      readonly name: string
      readonly file: BusboyFileStream
      readonly filename: string
      readonly type: string
    }

/**
 * Parses a form, checks its model, and serializes it again part by part as it arrives. Forwarding
 * the original bytes would be unsafe: upstream's parser could find another model in them.
 */
export class CheckedForm {
  readonly #boundary = `----blossom${randomUUID().replaceAll('-', '')}`
  readonly #parts: Part[] = []
  readonly #parser: BusboyInstance
  readonly #failed: Promise<never>
  #fail!: (error: unknown) => void
  #failure: { readonly error: unknown } | undefined
  #hasEnded = false
  #notify = (): void => {}
  #model: string | undefined

  private constructor(parser: BusboyInstance) {
    this.#parser = parser
    this.#failed = new Promise((_, reject) => {
      this.#fail = (error) => {
        if (this.#failure !== undefined) return
        this.#failure = { error: isStackError(error) ? error : notValid() }
        reject(this.#failure.error)
        this.#notify()
        parser.destroy()
        for (const part of this.#parts) if ('file' in part) part.file.destroy()
      }
    })
    this.#failed.catch(() => {})
    this.#listen()
  }

  /**
   * Starts to read a form.
   * @throws ConfigError if the package that parses forms is missing; ValidationError if the body is
   * not a form
   */
  static async read(contentType: string, bytes: AsyncIterable<Uint8Array>): Promise<CheckedForm> {
    const Busboy = await loadFormParser('a form with the option "models"')
    let parser: BusboyInstance
    try {
      parser = new Busboy({ headers: { 'content-type': contentType }, limits: LIMITS })
    } catch {
      throw notValid()
    }
    const form = new CheckedForm(parser)
    // The reader of the parts receives the error.
    form.#feed(bytes).catch((error: unknown) => form.#fail(error))
    return form
  }

  get contentType(): string {
    return `multipart/form-data; boundary=${this.#boundary}`
  }

  /** The model. @throws ValidationError if it does not come before all files */
  async model(): Promise<string> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure.error
      if (this.#model !== undefined) return this.#model
      if (this.#hasEnded || this.#parts.some((part) => 'file' in part)) {
        const error = new ValidationError('The field "model" must come before the file.')
        this.#fail(Object.assign(error, { param: 'model' }))
      } else await this.#change()
    }
  }

  /** Called when the form is no longer read. */
  leave(): void {
    this.#fail(new ValidationError('The form is no longer read.'))
  }

  /** The bytes of the new form. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, undefined, undefined> {
    try {
      for (;;) {
        const part = this.#parts.shift()
        if (part !== undefined) yield* this.#written(part)
        else if (this.#failure !== undefined) throw this.#failure.error
        else if (this.#hasEnded) break
        else await this.#change()
      }
      yield Buffer.from(`--${this.#boundary}--\r\n`)
    } finally {
      if (!this.#hasEnded) this.leave()
    }
    return undefined
  }

  async *#written(part: Part): AsyncGenerator<Uint8Array, undefined, undefined> {
    if ('value' in part)
      yield Buffer.from(`${partHead(this.#boundary, part.name)}${part.value}\r\n`)
    else {
      const { file } = part
      yield Buffer.from(partHead(this.#boundary, part.name, part))
      try {
        for await (const bytes of file) yield bytes as Uint8Array
      } catch {
        // Report the reason for which the stream was destroyed, not the stream's own error.
        throw this.#failure?.error ?? notValid()
      }
      if (this.#failure !== undefined) throw this.#failure.error
      yield Buffer.from('\r\n')
    }
    return undefined
  }

  #listen(): void {
    const parser = this.#parser
    const tooMany = () => this.#fail(new ValidationError('The form has too many parts.'))
    parser.on('field', (name, value, nameCut, valueCut) => {
      if (nameCut || valueCut)
        return this.#fail(new ValidationError('A field of the form is too long.'))
      if (name === 'model') {
        // Upstream might read the second one.
        if (this.#model !== undefined)
          return this.#fail(new ValidationError('The form has the field "model" twice.'))
        this.#model = value
      }
      this.#add({ name, value })
    })
    parser.on('file', (name, file, filename, _encoding, type) => {
      file.on('error', () => {})
      if (name === 'model')
        return this.#fail(new ValidationError('"model" must be a text field, not a file.'))
      this.#add({ name, file, filename: filename ?? '', type: type || 'application/octet-stream' })
    })
    for (const limit of ['partsLimit', 'filesLimit', 'fieldsLimit'] as const)
      parser.on(limit, tooMany)
    parser.on('error', () => this.#fail(notValid()))
    parser.on('finish', () => {
      this.#hasEnded = true
      this.#notify()
    })
  }

  #add(part: Part): void {
    this.#parts.push(part)
    this.#notify()
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#notify = resolve
    })
  }

  async #feed(bytes: AsyncIterable<Uint8Array>): Promise<void> {
    for await (const part of bytes) {
      if (this.#failure !== undefined) throw this.#failure.error
      if (!this.#parser.write(part)) await Promise.race([once(this.#parser, 'drain'), this.#failed])
    }
    this.#parser.end()
  }
}
