import type { BlossomCallOptions } from './call.js'

/** A file to send: bytes, or a `Blob` or `File`, whose type and name are sent too. */
export type FileInput = Uint8Array | ArrayBuffer | Blob

/** Options of `audio.transcribe()`. */
export interface TranscribeOptions extends BlossomCallOptions {
  /** A model's id, from `models.list()`. @default upstream's */
  model?: string | undefined
  /**
   * Name of the file. Some models read the audio format from its extension.
   * @default the `File`'s own name, else 'audio.wav'
   */
  filename?: string | undefined
  /** Language of the audio, such as `en`. @default detected by the model */
  language?: string | undefined
  /** Text that helps the model, such as names that occur in the audio. @default none */
  prompt?: string | undefined
  /** Sampling temperature, 0 to 1. @default upstream's */
  temperature?: number | undefined
}

/** Result of `audio.transcribe()`: the text, and the other fields that upstream returns. */
export interface Transcript {
  readonly text: string
  /** Upstream's headers: request id, cache, model used, rate limits. */
  readonly headers: Readonly<Record<string, string>>
  readonly [field: string]: unknown
}

/** Options of `image.edit()`. */
export interface ImageEditOptions extends BlossomCallOptions {
  /** The image or images to edit: either files or URLs, not both. */
  image: FileInput | string | readonly FileInput[] | readonly string[]
  /** An image whose transparent areas mark what to change in the first image. @default none */
  mask?: FileInput | undefined
  /** A model's id, from `models.list()`. @default upstream's */
  model?: string | undefined
  /** Size of the new image in pixels, such as `1024x1024`. @default upstream's */
  size?: string | undefined
  /** Seed for repeatable images, an integer, for models that support it. @default upstream's */
  seed?: number | undefined
}

/** Options of `video.generate()`. */
export interface VideoOptions extends BlossomCallOptions {
  /** A model's id, from `models.list()`. @default upstream's */
  model?: string | undefined
  /** Length of the video in seconds, 1 to 3,600. @default upstream's */
  duration?: number | undefined
  /** Aspect ratio, such as `16:9`. @default upstream's */
  aspectRatio?: string | undefined
  /** Seed for repeatable videos, an integer, for models that support it. @default upstream's */
  seed?: number | undefined
  /** Whether the video has sound, for models that support it. @default upstream's */
  audio?: boolean | undefined
  /** URL of an image to start from. @default none */
  image?: string | undefined
}
