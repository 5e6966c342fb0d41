import * as v from 'valibot'

// Fields that several bodies share.

export const NON_EMPTY = 'must be a non-empty string'

/** A string with at least one character that is not white space. */
export const prompt = (description: string) =>
  v.pipe(v.string(NON_EMPTY), v.regex(/\S/, NON_EMPTY), v.description(description))

export const model = v.nullish(
  v.pipe(
    v.string(NON_EMPTY),
    v.nonEmpty(NON_EMPTY),
    v.description('Name of the model. By default the server chooses one.'),
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

/** Checked here, because upstream may reject another type only after the call has been paid for. */
export const stream = (description: string) =>
  v.nullish(v.pipe(v.boolean('must be true or false'), v.description(description)))

/** For routes that cannot stream. */
export const noStream = v.nullish(
  v.pipe(v.literal(false, 'must be false'), v.description('This route does not stream.')),
)
