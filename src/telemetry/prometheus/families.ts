/** Labels by name. */
export type Labels = Readonly<Record<string, string>>

/** One line of the text format. */
export interface Sample {
  /** Suffix of the family's name, for the parts of a histogram. */
  readonly suffix?: '_bucket' | '_sum' | '_count' | undefined
  readonly labels: Labels
  readonly value: number
}

/** All samples of one metric. */
export interface Family {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  samples(): readonly Sample[]
}

/**
 * Writes families in the text format.
 * @see https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
 */
export function textOf(families: readonly Family[], constants: Labels): string {
  let text = ''
  for (const { name, help, type, samples } of families) {
    text += `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`
    for (const { suffix, labels, value } of samples())
      text += `${name}${suffix ?? ''}${labelsText({ ...constants, ...labels })} ${numberText(value)}\n`
  }
  return text
}

function labelsText(labels: Labels): string {
  const all = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`)
  return all.length === 0 ? '' : `{${all.join(',')}}`
}

const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '"': '\\"', '\n': '\\n' }

const escaped = (value: string): string =>
  value.replace(/[\\"\n]/g, (character) => ESCAPES[character] as string)

export const numberText = (value: number): string =>
  value === Number.POSITIVE_INFINITY ? '+Inf' : String(value)
