import { inXml, type Picture, svgOf } from '../../support/svg.js'

const WIDTH = 760
const LEFT = 64
const RIGHT = 24
const PLOT = WIDTH - LEFT - RIGHT

/** How a series looks: ours, what it is compared with, and what is only for orientation. */
export type Look = 'ours' | 'other' | 'third' | 'mark'

export interface Axis {
  /** With its unit. */
  readonly label: string
  readonly most: number
  readonly step: number
}

export interface Series {
  readonly name: string
  readonly look: Look
  readonly points: readonly (readonly [x: number, y: number])[]
}

const fixed = (value: number) => value.toFixed(1)
const text = (x: number, y: number, words: string, anchor = 'start', look = '') =>
  `<text${look && ` class="${look}"`} x="${fixed(x)}" y="${fixed(y)}" text-anchor="${anchor}">${inXml(words)}</text>`
const line = (x1: number, y1: number, x2: number, y2: number, look: string) =>
  `<line class="${look}" x1="${fixed(x1)}" y1="${fixed(y1)}" x2="${fixed(x2)}" y2="${fixed(y2)}"/>`
const ticksOf = ({ most, step }: Axis) =>
  Array.from({ length: Math.floor(most / step + 1e-9) + 1 }, (_, i) => i * step)

/** One diagram of a picture: its frame, and where values are in it. */
export class Panel {
  readonly #top: number
  readonly #bottom: number
  readonly #x: Axis
  readonly #y: Axis
  readonly #parts: string[] = []

  /** `top` and `height` are those of the plot alone; its title and legend are above it. */
  constructor(title: string, top: number, height: number, x: Axis, y: Axis) {
    this.#top = top
    this.#bottom = top + height
    this.#x = x
    this.#y = y
    this.#parts.push(text(LEFT - 40, top - 34, title, 'start', 'title'))
    for (const value of ticksOf(y)) {
      const at = this.yOf(value)
      this.#parts.push(line(LEFT, at, WIDTH - RIGHT, at, value === 0 ? 'axis' : 'grid'))
      this.#parts.push(text(LEFT - 8, at + 4, String(value), 'end', 'tick'))
    }
    this.#parts.push(text(LEFT - 40, top - 14, y.label, 'start', 'tick'))
  }

  xOf(value: number): number {
    return LEFT + (value / this.#x.most) * PLOT
  }

  yOf(value: number): number {
    return this.#bottom - (value / this.#y.most) * (this.#bottom - this.#top)
  }

  /** Numbers along the lower axis. */
  xTicks(): this {
    for (const value of ticksOf(this.#x))
      this.#parts.push(text(this.xOf(value), this.#bottom + 18, String(value), 'middle', 'tick'))
    return this.xNames()
  }

  xNames(): this {
    this.#parts.push(text(LEFT + PLOT / 2, this.#bottom + 38, this.#x.label, 'middle', 'tick'))
    return this
  }

  /** A shaded time, with its name. */
  span(from: number, until: number, name: string): this {
    const [left, right] = [this.xOf(from), this.xOf(until)]
    this.#parts.push(
      `<rect class="span" x="${fixed(left)}" y="${fixed(this.#top)}" width="${fixed(right - left)}" height="${fixed(this.#bottom - this.#top)}"/>`,
      text((left + right) / 2, this.#top + 16, name, 'middle'),
    )
    return this
  }

  lines(...all: readonly Series[]): this {
    for (const { look, points } of all) {
      const path = points.map(([x, y]) => `${fixed(this.xOf(x))},${fixed(this.yOf(y))}`).join(' ')
      this.#parts.push(`<polyline class="${look}-line" points="${path}"/>`)
    }
    return this.legend(all)
  }

  /** Bars side by side, for each of the names along the lower axis. */
  bars(names: readonly string[], all: readonly { name: string; look: Look; values: number[] }[]) {
    const room = PLOT / names.length
    const width = (0.7 * room) / all.length
    for (const [i, name] of names.entries()) {
      const middle = LEFT + (i + 0.5) * room
      this.#parts.push(text(middle, this.#bottom + 18, name, 'middle', 'tick'))
      for (const [j, { look, values }] of all.entries()) {
        const left = middle + (j - all.length / 2) * width
        const top = this.yOf(values[i] as number)
        this.#parts.push(
          `<rect class="${look}" x="${fixed(left)}" y="${fixed(top)}" width="${fixed(width - 3)}" height="${fixed(this.#bottom - top)}"/>`,
          text(left + width / 2 - 1.5, top - 5, (values[i] as number).toFixed(1), 'middle'),
        )
      }
    }
    return this.xNames().legend(all)
  }

  /** Bars of counts along the lower axis, each as wide as `width` on it. */
  counts(points: Series['points'], width: number): this {
    for (const [x, y] of points)
      this.#parts.push(
        `<rect class="ours" x="${fixed(this.xOf(x))}" y="${fixed(this.yOf(y))}" width="${fixed(this.xOf(width) - LEFT - 1)}" height="${fixed(this.#bottom - this.yOf(y))}"/>`,
      )
    return this
  }

  legend(all: readonly { readonly name: string; readonly look: Look }[]): this {
    let right = WIDTH - RIGHT
    for (const { name, look } of all.toReversed()) {
      this.#parts.push(text(right, this.#top - 14, name, 'end'))
      // A letter of this size is about 6.4 wide.
      right -= name.length * 6.4 + 26
      this.#parts.push(line(right, this.#top - 18, right + 18, this.#top - 18, `${look}-line`))
      right -= 18
    }
    return this
  }

  get svg(): string {
    return this.#parts.join('\n')
  }
}

/** A picture of diagrams. */
export const chart = (
  about: Pick<Picture, 'title' | 'height'> & { readonly description: string },
  ...panels: readonly Panel[]
): string =>
  svgOf({
    ...about,
    width: WIDTH,
    style: `.tick { fill: #59636e } .grid { stroke: #d0d7de } .axis { stroke: #59636e } .span { fill: #8c959f; fill-opacity: 0.15 }
polyline, .ours-line, .other-line, .third-line, .mark-line { fill: none; stroke-width: 2 }
.ours { fill: #bf3989 } .ours-line { stroke: #bf3989 } .other { fill: #8c959f } .other-line { stroke: #6e7781 }
.third-line { stroke: #0969da; stroke-width: 1.5 } .mark-line { stroke: #1f2328; stroke-width: 1.5; stroke-dasharray: 5 4 }`,
    darkStyle: `.tick { fill: #9198a1 } .grid { stroke: #2f353d } .axis { stroke: #9198a1 }
.ours { fill: #e275ad } .ours-line { stroke: #e275ad } .other { fill: #7d8590 } .other-line { stroke: #9198a1 }
.third-line { stroke: #4493f8 } .mark-line { stroke: #f0f6fc }`,
    parts: panels.map(({ svg }) => svg),
  })

/** A picture, and what stands below it on the page. */
export interface Drawn {
  readonly svg: string
  /** One or two sentences with the figures. */
  readonly caption: string
}
