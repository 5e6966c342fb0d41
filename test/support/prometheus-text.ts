/** A line of Prometheus' text format. */
interface ParsedSample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

export interface ParsedFamily {
  readonly name: string
  readonly help: string
  readonly type: string
  readonly samples: ParsedSample[]
}

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*'
const SAMPLE = new RegExp(`^(${NAME})(?:\\{(.*)\\})? (\\S+)$`, 's')
const LABEL = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(,|$)/

/**
 * Reads the text format, version 0.0.4, and refuses whatever Prometheus or its linter might: a line
 * that is none, a family without HELP or TYPE or in two places, a sample of another family, a series
 * that is there twice, a counter that is not called `_total`, a histogram whose buckets do not add
 * up.
 */
export function parsePrometheus(text: string): ParsedFamily[] {
  if (!text.endsWith('\n')) throw new Error('The text does not end with a new line.')
  const families: ParsedFamily[] = []
  let help: { name: string; text: string } | undefined
  for (const line of text.slice(0, -1).split('\n')) {
    const comment = new RegExp(`^# (HELP|TYPE) (${NAME}) (.+)$`).exec(line)
    if (comment !== null) {
      const [, kind, name = '', rest = ''] = comment
      if (kind === 'HELP') {
        if (help !== undefined) throw new Error(`${help.name} has no TYPE.`)
        help = { name, text: rest }
        continue
      }
      if (help?.name !== name) throw new Error(`The TYPE of ${name} does not follow its HELP.`)
      if (families.some((family) => family.name === name)) throw new Error(`${name} comes twice.`)
      if (!['counter', 'gauge', 'histogram'].includes(rest)) throw new Error(`Type ${rest}.`)
      families.push({ name, help: help.text, type: rest, samples: [] })
      help = undefined
    } else {
      const family = families.at(-1)
      if (family === undefined || help !== undefined) throw new Error(`A stray sample: ${line}`)
      family.samples.push(parseSample(line))
    }
  }
  families.forEach(checkFamily)
  return families
}

function parseSample(line: string): ParsedSample {
  const [, name, labelText = '', number] = SAMPLE.exec(line) ?? []
  if (name === undefined || number === undefined) throw new Error(`No sample: ${line}`)
  const labels: Record<string, string> = {}
  for (let rest = labelText; rest !== ''; ) {
    const [all, label, value, end] = LABEL.exec(rest) ?? []
    if (all === undefined || label === undefined || value === undefined)
      throw new Error(`No labels: ${labelText}`)
    if (Object.hasOwn(labels, label)) throw new Error(`The label ${label} comes twice: ${line}`)
    labels[label] = value.replace(/\\(.)/g, (_, c: string) => (c === 'n' ? '\n' : c))
    rest = rest.slice(all.length)
    if (end === ',' && rest === '') throw new Error(`A comma at the end: ${line}`)
  }
  if (!/^(\+Inf|-?\d+(\.\d+)?(e[+-]?\d+)?)$/.test(number)) throw new Error(`No number: ${line}`)
  const value = number === '+Inf' ? Number.POSITIVE_INFINITY : Number(number)
  return { name, labels, value }
}

/** The labels in one text, in which their order does not matter. */
export const keyOf = (labels: Readonly<Record<string, string>>): string =>
  JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)))

function checkFamily({ name, type, samples }: ParsedFamily): void {
  const seen = new Set<string>()
  for (const sample of samples) {
    const key = `${sample.name} ${keyOf(sample.labels)}`
    if (seen.has(key)) throw new Error(`The series ${key} comes twice.`)
    seen.add(key)
    if (type !== 'histogram' && sample.name !== name)
      throw new Error(`${sample.name} is not of ${name}.`)
    if (type === 'counter' && !(sample.value >= 0)) throw new Error(`${key} is negative.`)
  }
  if ((type === 'counter') !== name.endsWith('_total')) throw new Error(`${name} is a ${type}.`)
  if (type === 'histogram') checkHistogram(name, samples)
}

function checkHistogram(name: string, samples: readonly ParsedSample[]): void {
  const series = new Map<string, { buckets: [number, number][]; sum?: number; count?: number }>()
  for (const { name: of, labels, value } of samples) {
    const { le, ...others } = labels
    const one = series.get(keyOf(others)) ?? { buckets: [] }
    series.set(keyOf(others), one)
    if (of === `${name}_bucket` && le !== undefined)
      one.buckets.push([le === '+Inf' ? Number.POSITIVE_INFINITY : Number(le), value])
    else if (of === `${name}_sum` && le === undefined) one.sum = value
    else if (of === `${name}_count` && le === undefined) one.count = value
    else throw new Error(`${of} is not of the histogram ${name}.`)
  }
  for (const [key, { buckets, sum, count }] of series) {
    const isRising = buckets.every(([le, value], i) => {
      const [bound, below] = buckets[i - 1] ?? [Number.NEGATIVE_INFINITY, 0]
      return le > bound && value >= below
    })
    const last = buckets.at(-1)
    if (!isRising || last?.[0] !== Number.POSITIVE_INFINITY || last[1] !== count)
      throw new Error(`The buckets of ${name} ${key} do not add up.`)
    if (sum === undefined || !(sum >= 0)) throw new Error(`${name} ${key} has no sum.`)
  }
}

/** The value of a series with these labels among others; the sum, where there are several. */
export function sumOf(
  families: readonly ParsedFamily[],
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number {
  const samples = families.flatMap((family) => family.samples).filter((one) => one.name === name)
  const wanted = Object.entries(labels)
  return samples
    .filter((one) => wanted.every(([label, value]) => one.labels[label] === value))
    .reduce((sum, { value }) => sum + value, 0)
}
