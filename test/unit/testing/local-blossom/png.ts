import { crc32, inflateSync } from 'node:zlib'
import { expect } from 'vitest'

/** Checks a PNG's frame, checksums and pixels, and gives its size. */
export function sizeOf(png: Buffer): { width: number; height: number } {
  expect(png.subarray(1, 4).toString()).toBe('PNG')
  const names: string[] = []
  let pixels = Buffer.alloc(0)
  for (let at = 8; at < png.length; ) {
    const length = png.readUInt32BE(at)
    const section = png.subarray(at + 4, at + 8 + length)
    expect(crc32(section)).toBe(png.readUInt32BE(at + 8 + length))
    names.push(section.subarray(0, 4).toString())
    if (names.at(-1) === 'IDAT') pixels = inflateSync(section.subarray(4))
    at += 12 + length
  }
  expect(names).toEqual(['IHDR', 'IDAT', 'IEND'])
  const [width, height] = [png.readUInt32BE(16), png.readUInt32BE(20)]
  expect(pixels).toHaveLength(height * (1 + width * 3))
  return { width, height }
}
