import * as v from 'valibot'

// Fields that several bodies have.

export const NON_EMPTY = 'must be a non-empty string'

/** White space alone is no prompt. */
export const prompt = (description: string) =>
  v.pipe(v.string(NON_EMPTY), v.regex(/\S/, NON_EMPTY), v.description(description))

export const model = v.nullish(
  v.pipe(
    v.string(NON_EMPTY),
    v.nonEmpty(NON_EMPTY),
    v.description('Name of a model. Without one the server chooses.'),
  ),
)

const isObject = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const MESSAGES = 'must be a non-empty list of objects'
export const messages = v.pipe(
  v.array(v.pipe(v.unknown(), v.metadata({ type: 'object' })), MESSAGES),
  v.nonEmpty(MESSAGES),
  v.everyItem(isObject, MESSAGES),
  v.description('The conversation so far.'),
)

/** A value that is no boolean would be found wrong by upstream, or not until it was paid for. */
export const stream = (description: string) =>
  v.nullish(v.pipe(v.boolean('must be true or false'), v.description(description)))

/** Where an answer comes in one piece, events that were asked for could not be given. */
export const noStream = v.nullish(
  v.pipe(v.literal(false, 'must be false'), v.description('The answer comes in one piece.')),
)
