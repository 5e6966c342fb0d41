import * as v from 'valibot'

// Types of variables. Each validation message says what the value must be.

/** Ten years, which is also the limit of the layers. */
export const LONGEST_MS = 10 * 365 * 24 * 3_600_000

const isWithin = (value: string, min: number, max: number): boolean =>
  /^\d{1,15}$/.test(value) && Number(value) >= min && Number(value) <= max

export function integer(fallback: number, min: number, max: number, description: string) {
  return v.optional(integerValue(min, max, description), String(fallback))
}

/** An integer whose default is stated in its description. */
export const integerIfSet = (min: number, max: number, description: string) =>
  v.optional(integerValue(min, max, description))

function integerValue(min: number, max: number, description: string) {
  const expected = `an integer from ${min} to ${max}`
  return v.pipe(
    v.string(),
    v.check((given) => isWithin(given, min, max), expected),
    v.transform(Number),
    v.metadata({ expected, description }),
  )
}

/** An integer, or a word such as `adaptive` that stands for an automatic choice. */
export function integerOr<const Word extends string>(
  word: Word,
  fallback: number | NoInfer<Word>,
  min: number,
  max: number,
  description: string,
) {
  const expected = `an integer from ${min} to ${max}, or ${word}`
  const value = v.pipe(
    v.string(),
    v.check((given) => given === word || isWithin(given, min, max), expected),
    v.transform((given) => (given === word ? word : Number(given))),
    v.metadata({ expected, description }),
  )
  return v.optional(value, String(fallback))
}

export function choice<const Word extends string>(
  fallback: NoInfer<Word>,
  words: readonly Word[],
  description: string,
) {
  const expected = `one of ${words.join(', ')}`
  return v.optional(
    v.pipe(v.picklist(words, expected), v.metadata({ expected, description })),
    fallback,
  )
}

export const onOrOff = (fallback: 'on' | 'off', description: string) =>
  v.pipe(
    choice(fallback, ['on', 'off'], description),
    v.transform((word) => word === 'on'),
  )

export function text(
  expected: string,
  accepts: (value: string) => boolean,
  description: string,
  fallback?: string,
) {
  const value = v.pipe(
    v.string(),
    v.check(accepts, expected),
    v.metadata({ expected, description }),
  )
  return v.optional(value, fallback)
}

export function list(
  expected: string,
  readItem: (item: string) => string,
  accepts: (item: string) => boolean,
  description: string,
) {
  return v.optional(
    v.pipe(
      v.string(),
      v.transform((value) => value.split(',').map((item) => readItem(item.trim()))),
      v.everyItem(accepts, expected),
      v.metadata({ expected, description }),
    ),
  )
}

/** Pairs of names and values, as in `a=1, b=2`. */
export function pairs<Value>(
  expected: string,
  readValue: (text: string) => Value | undefined,
  description: string,
) {
  return v.optional(
    v.pipe(
      v.string(),
      v.rawTransform(({ dataset, addIssue, NEVER }) => {
        const read = new Map<string, Value>()
        for (const item of dataset.value.split(',')) {
          const [, name, text] = /^([^=]*[^=\s])\s*=\s*([^=\s]+)$/.exec(item.trim()) ?? []
          const value = text === undefined ? undefined : readValue(text)
          if (name === undefined || value === undefined || read.has(name)) {
            addIssue({ message: expected })
            return NEVER
          }
          read.set(name, value)
        }
        return read
      }),
      v.metadata({ expected, description }),
    ),
  )
}
