import { createRequire } from 'node:module'
import type * as Api from '@opentelemetry/api'
import { ConfigError } from '../../core/index.js'

/** The peer, as a module. */
export type OpenTelemetry = typeof Api

const PACKAGE = '@opentelemetry/api'

/**
 * Loads the optional peer. All copies of it in a process share the registered SDK.
 * @throws ConfigError if it is not installed
 */
export function loadApi(): OpenTelemetry {
  try {
    // The CommonJS build replaces `import.meta.url` with the file's own path.
    return createRequire(import.meta.url)(PACKAGE) as OpenTelemetry
  } catch (cause) {
    throw new ConfigError(
      `instrument: the package ${PACKAGE} is needed and cannot be loaded. Install it with \`npm install ${PACKAGE}\`.`,
      { cause },
    )
  }
}
