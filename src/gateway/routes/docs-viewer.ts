import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

/**
 * Swagger UI's files, as packaged by the Fastify team. Unlike `swagger-ui-dist` and other viewers,
 * this package has no install scripts. None of its code runs; only three of its files are served.
 */
export const VIEWER = '@fastify/swagger-ui'

/** The files that are served. */
export const VIEWER_FILES = {
  'swagger-ui.css': 'text/css; charset=utf-8',
  'swagger-ui-bundle.js': 'text/javascript; charset=utf-8',
  'favicon-32x32.png': 'image/png',
} as const

export interface Viewer {
  readonly version: string
  read(file: keyof typeof VIEWER_FILES): Promise<Uint8Array>
}

/** The viewer, if its package is installed. */
export function findViewer(): Viewer | undefined {
  let manifest: string
  try {
    // The CommonJS build replaces `import.meta.url` with the file's own path.
    manifest = createRequire(import.meta.url).resolve(`${VIEWER}/package.json`)
  } catch {
    return undefined
  }
  const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }
  return { version, read: (file) => readFile(join(dirname(manifest), 'static', file)) }
}
