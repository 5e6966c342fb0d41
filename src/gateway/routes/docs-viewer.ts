import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

/**
 * Swagger UI's files as the Fastify team packs them. `swagger-ui-dist` itself and other viewers
 * bring install scripts along; of this package nothing runs, three files are served.
 */
export const VIEWER = '@fastify/swagger-ui'

/** The files that are served, and nothing else. */
export const VIEWER_FILES = {
  'swagger-ui.css': 'text/css; charset=utf-8',
  'swagger-ui-bundle.js': 'text/javascript; charset=utf-8',
  'favicon-32x32.png': 'image/png',
} as const

export interface Viewer {
  readonly version: string
  read(file: keyof typeof VIEWER_FILES): Promise<Uint8Array>
}

/** The viewer, where its package is installed beside this one. */
export function findViewer(): Viewer | undefined {
  let manifest: string
  try {
    // In the CommonJS build this is the file's own name.
    manifest = createRequire(import.meta.url).resolve(`${VIEWER}/package.json`)
  } catch {
    return undefined
  }
  const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }
  return { version, read: (file) => readFile(join(dirname(manifest), 'static', file)) }
}
