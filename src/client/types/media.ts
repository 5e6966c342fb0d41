import type { BlossomCallOptions } from './call.js'

/** A file: its bytes, or a `Blob` or `File`, whose name and type are sent along. */
export type FileInput = Uint8Array | ArrayBuffer | Blob

/** Options of `audio.transcribe()`. */
export interface TranscribeOptions extends BlossomCallOptions {
  /** A model's id, from `models.list()`. @default upstream's */
  model?: string | undefined
  /** What the file is called, where it does not say so; some models go by its ending. @default 'audio.wav' */
  filename?: string | undefined
  /** The language spoken, such as `en`. */
  language?: string | undefined
  /** Words that help the model, such as names. */
  prompt?: string | undefined
  /** 0 to 1. */
  temperature?: number | undefined
}

/** What `audio.transcribe()` gives: the text, and whatever else upstream reports. */
export interface Transcript {
  readonly text: string
  /** What upstream said beside it: request id, cache, model used, limits. */
  readonly headers: Readonly<Record<string, string>>
  readonly [field: string]: unknown
}

/** Options of `image.edit()`. */
export interface ImageEditOptions extends BlossomCallOptions {
  /** The picture to change, or several: files, or addresses. */
  image: FileInput | string | readonly FileInput[] | readonly string[]
  /** A picture that is transparent where the first is to be changed. */
  mask?: FileInput | undefined
  /** A model's id, from `models.list()`. @default upstream's */
  model?: string | undefined
  /** Such as `1024x1024`. */
  size?: string | undefined
  /** For answers that can be repeated, where the model can. */
  seed?: number | undefined
}

/** What a video is made by. */
export interface VideoOptions extends BlossomCallOptions {
  /** A model's id, from `models.list()`. @default upstream's */
  model?: string | undefined
  /** Seconds. */
  duration?: number | undefined
  /** Such as `16:9`. */
  aspectRatio?: string | undefined
  /** For answers that can be repeated, where the model can. */
  seed?: number | undefined
  /** With sound, for models that can. */
  audio?: boolean | undefined
  /** Address of an image to start from. */
  image?: string | undefined
}
