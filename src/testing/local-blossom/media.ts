import { crc32, deflateSync } from 'node:zlib'
import { digest, numbersFrom } from './text.js'

/**
 * Maximum side of a picture in pixels. Tests need a valid format rather than a large picture.
 * @internal
 */
const MAX_SIDE = 128

/**
 * A real PNG of at most 128 × 128 pixels: a gradient between two colours derived from the prompt
 * and seed.
 * @internal
 */
export function drawPng(
  prompt: string,
  model: string,
  seed: string,
  width: number,
  height: number,
): Buffer {
  const columns = Math.min(width, MAX_SIDE)
  const rows = Math.min(height, MAX_SIDE)
  const colours = digest(prompt, model, seed)
  const pixels = Buffer.alloc(rows * (1 + columns * 3)) // each row starts with its filter type, 0 = none
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      const share = (x + y) / (columns + rows)
      for (let channel = 0; channel < 3; channel++) {
        const from = colours[channel] ?? 0
        const to = colours[channel + 3] ?? 0
        pixels[y * (1 + columns * 3) + 1 + x * 3 + channel] = Math.round(from + (to - from) * share)
      }
    }
  }
  const header = Buffer.alloc(13)
  header.writeUInt32BE(columns, 0)
  header.writeUInt32BE(rows, 4)
  header.set([8, 2, 0, 0, 0], 8) // 8 bits per channel, RGB, deflate, no filter method, not interlaced
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
  return Buffer.concat([
    signature,
    section('IHDR', header),
    section('IDAT', deflateSync(pixels)),
    section('IEND', Buffer.alloc(0)),
  ])
}

/**
 * A real WAV: one tone, mono, 16 bits at 8 kHz, 20 ms per character, from 0.1 to 1 s. Its pitch
 * depends on text and voice. @internal
 */
export function toneWav(text: string, voice: string, model: string): Buffer {
  const rate = 8000
  const samples = Math.round(rate * Math.min(1, Math.max(0.1, text.length * 0.02)))
  const pitch = 220 + (digest(text, voice, model).readUInt16LE(0) % 440)
  const wav = Buffer.alloc(44 + samples * 2)
  wav.write('RIFF', 0, 'latin1')
  wav.writeUInt32LE(wav.length - 8, 4)
  wav.write('WAVEfmt ', 8, 'latin1')
  wav.writeUInt32LE(16, 16) // length of the format section
  wav.writeUInt16LE(1, 20) // PCM
  wav.writeUInt16LE(1, 22) // one channel
  wav.writeUInt32LE(rate, 24)
  wav.writeUInt32LE(rate * 2, 28) // bytes per second
  wav.writeUInt16LE(2, 32) // bytes per sample
  wav.writeUInt16LE(16, 34) // bits per sample
  wav.write('data', 36, 'latin1')
  wav.writeUInt32LE(samples * 2, 40)
  for (let index = 0; index < samples; index++) {
    wav.writeInt16LE(
      Math.round(8000 * Math.sin((2 * Math.PI * pitch * index) / rate)),
      44 + index * 2,
    )
  }
  return wav
}

/** A unit vector that depends only on text, model and number of dimensions. @internal */
export function embed(text: string, model: string, dimensions: number): number[] {
  const random = numbersFrom(text, model, String(dimensions))
  // Never zero, so that the length to divide by is not zero.
  const raw = Array.from({ length: dimensions }, () => random() * 2 - 1 || 1)
  const length = Math.hypot(...raw)
  return raw.map((value) => value / length)
}

/**
 * Encodes a vector as for OpenAI's `encoding_format: 'base64'`: 32-bit floats, little-endian.
 * @internal
 */
export function toBase64Floats(vector: readonly number[]): string {
  const bytes = Buffer.alloc(vector.length * 4)
  for (const [index, value] of vector.entries()) bytes.writeFloatLE(value, index * 4)
  return bytes.toString('base64')
}

function section(name: string, content: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(name, 'latin1'), content])
  const framed = Buffer.alloc(body.length + 8)
  framed.writeUInt32BE(content.length, 0)
  body.copy(framed, 4)
  framed.writeUInt32BE(crc32(body), body.length + 4)
  return framed
}
