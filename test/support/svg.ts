/** Text as it may stand in XML. */
export const inXml = (text: string): string =>
  text.replace(/[&<>]/g, (sign) => `&#${sign.charCodeAt(0)};`)

/** A picture, whose colours go with the reader's. */
export interface Picture {
  readonly width: number
  readonly height: number
  readonly title: string
  /** What the picture shows, for those who cannot see it. @default the title is enough */
  readonly description?: string
  /** CSS beside that of the card and of plain text. */
  readonly style: string
  readonly darkStyle: string
  readonly parts: readonly string[]
}

/** A card with round corners on which the parts are drawn. */
export function svgOf({ width, height, title, description, ...picture }: Picture): string {
  const about = description === undefined ? '' : `\n<desc id="more">${inXml(description)}</desc>`
  const more = description === undefined ? '' : ' aria-describedby="more"'
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-labelledby="about"${more}>
<title id="about">${inXml(title)}</title>${about}
<style>
.card { fill: #ffffff; stroke: #d0d7de }
text { fill: #1f2328; font: 12px system-ui, -apple-system, "Segoe UI", sans-serif }
.title { font-size: 14px; font-weight: 600 }
${picture.style}
@media (prefers-color-scheme: dark) {
.card { fill: #0d1117; stroke: #3d444d }
text { fill: #f0f6fc }
${picture.darkStyle}
}
</style>
<rect class="card" x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="8"/>
${picture.parts.join('\n')}
</svg>
`
}
