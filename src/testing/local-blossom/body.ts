import { createHash } from 'node:crypto'

/** A file of a form, as a request's record contains it. */
interface ReceivedFile {
  readonly filename: string
  readonly type: string
  readonly bytes: number
  /** SHA-256 in hex. */
  readonly sha256: string
}

/**
 * Parses a body as JSON, or as the fields and files of a form; a name that occurs more than once
 * becomes a list. `undefined` for anything else, which routes that need a body reject.
 *
 * @internal
 */
export async function parseBody(bytes: Buffer, contentType: string): Promise<unknown> {
  try {
    if (!/^multipart\/form-data\b/i.test(contentType)) return JSON.parse(bytes.toString('utf8'))
    const headers = { 'content-type': contentType }
    return await fieldsOf(await new Response(new Uint8Array(bytes), { headers }).formData())
  } catch {
    return undefined
  }
}

async function fieldsOf(form: FormData): Promise<Record<string, unknown>> {
  const fields: Record<string, unknown> = {}
  for (const name of new Set(form.keys())) {
    const values: unknown[] = []
    for (const value of form.getAll(name))
      values.push(typeof value === 'string' ? value : await fileOf(value))
    fields[name] = values.length === 1 ? values[0] : values
  }
  return fields
}

async function fileOf(file: File): Promise<ReceivedFile> {
  const bytes = Buffer.from(await file.arrayBuffer())
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  return { filename: file.name, type: file.type, bytes: bytes.length, sha256 }
}
