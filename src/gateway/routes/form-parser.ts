import { ConfigError } from '../../core/index.js'

/**
 * Loads the package that parses forms as they arrive. It is imported without looking up its file,
 * which does not exist in a bundle.
 *
 * @param what the feature that needs the package, for the error message
 * @throws ConfigError if the package is missing
 */
export async function loadFormParser(what: string) {
  try {
    return (await import('@fastify/busboy')).Busboy
  } catch (cause) {
    throw new ConfigError(
      `createGateway: ${what} needs the package @fastify/busboy, which cannot be loaded. Install it with \`npm install @fastify/busboy\`.`,
      { cause },
    )
  }
}
