import { type BaseFacts, ConfigError } from '../core/index.js'

/**
 * Checks that the function of a stack has a name, by which other processes know it. Its name in its
 * source does not identify it: two may have the same name, or none.
 *
 * @param layer the kind of the layer that needs it
 * @param when the options that it is needed with
 * @param or what would do as well
 */
export const checkNamed =
  (layer: string, when: string, or = '') =>
  ({ sharedScope }: BaseFacts): void => {
    if (sharedScope !== undefined) return
    throw new ConfigError(
      `${layer}: with ${when}, the function needs a name, as in base(fn, { name: "ask" })${or}; otherwise it could be served the answers of another function.`,
      { layer },
    )
  }
