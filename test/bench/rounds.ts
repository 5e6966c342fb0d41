import type { Row } from './run.js'

/** Runs the contenders in turn, round after round, so that a machine that drifts is unfair to nobody. The first round only warms up. */
export async function inTurn(unit: string, rounds: number, contenders: Readonly<Record<string, () => Promise<number>>>): Promise<Row[]> {
  const figures = new Map(Object.keys(contenders).map((name) => [name, [] as number[]]))
  for (let round = 0; round <= rounds; round++) {
    for (const [name, measure] of Object.entries(contenders)) {
      const figure = await measure()
      if (round > 0) figures.get(name)?.push(figure)
    }
  }
  const rows = [...figures].map(([contender, all]) => {
    const sorted = all.toSorted((a, b) => a - b)
    return {
      contender,
      unit,
      value: sorted[sorted.length >> 1] ?? 0,
      spread: `${sorted[0]?.toPrecision(3)} … ${sorted.at(-1)?.toPrecision(3)}`,
    }
  })
  const base = rows[0]?.value ?? 1
  return rows.map((row) => ({ ...row, ratio: row.value / base }))
}

/** Does `work` `total` times, `width` at once; resolves with the seconds it took. */
export async function seconds(total: number, width: number, work: (i: number) => Promise<unknown>): Promise<number> {
  let next = 0
  const start = performance.now()
  await Promise.all(
    Array.from({ length: width }, async () => {
      while (next < total) await work(next++)
    }),
  )
  return (performance.now() - start) / 1000
}
