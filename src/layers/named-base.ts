import { type BaseFacts, ConfigError } from '../core/index.js'

/**
 * Returns a check that the base has a name, by which other processes identify it. The name in the
 * source code does not count, because two functions may have the same one, or none.
 *
 * @param layer kind of the layer that needs it
 * @param when the options that require it
 * @param or an alternative to the name, for the message
 */
export const checkNamed =
  (layer: string, when: string, or = '') =>
  ({ sharedScope }: BaseFacts): void => {
    if (sharedScope !== undefined) return
    throw new ConfigError(
      `${layer}: with ${when}, the function needs a name, as in base(fn, { name: "ask" })${or}. Otherwise it could get the stored answers of another function.`,
      { layer },
    )
  }
