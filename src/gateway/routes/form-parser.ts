import { ConfigError } from '../../core/index.js'

/**
 * Loads the package that reads forms while they come in. Nothing looks for its file: in a bundle
 * there is none.
 *
 * @param what wants it
 * @throws ConfigError when it is missing
 */
export async function loadFormParser(what: string) {
  try {
    return (await import('@fastify/busboy')).Busboy
  } catch (cause) {
    throw new ConfigError(
      `createGateway: ${what} needs the package @fastify/busboy, which cannot be loaded; install it with \`npm install @fastify/busboy\`.`,
      { cause },
    )
  }
}
