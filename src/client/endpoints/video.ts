import { rules } from '../../core/index.js'
import { checkLength, checkPrompt, pathSegment, readArguments } from '../arguments.js'
import type { Blossom } from '../interface.js'
import type { VideoOptions } from '../types.js'
import { Outgoing } from '../wire/outgoing.js'
import { bytesFrom } from './answers.js'
import type { Call } from './call.js'

type VideoFields = Pick<
  VideoOptions,
  'model' | 'duration' | 'aspectRatio' | 'seed' | 'audio' | 'image'
>

const videoRules = {
  model: rules.text(undefined),
  duration: rules.number(undefined, { min: 1, max: 3_600 }),
  aspectRatio: rules.text(undefined),
  seed: rules.integer(undefined, {}),
  audio: rules.flag(undefined),
  image: rules.text(undefined),
}

/** `video.generate`. */
export function videoEndpoints(call: Call): Blossom['video'] {
  const method = 'video.generate'
  return {
    generate: async (prompt, options) => {
      const { fields, call: callOptions } = readArguments<VideoFields>(method, options, videoRules)
      const query = new URLSearchParams()
      for (const name of Object.keys(videoRules) as (keyof VideoFields)[]) {
        const value = fields[name]
        if (value !== undefined) query.append(name, String(value))
      }
      const path = `/video/${pathSegment(method, checkPrompt(method, prompt))}`
      const address = checkLength(method, query.size === 0 ? path : `${path}?${query}`)
      const request = new Outgoing('GET', address, undefined, 'bytes')
      return bytesFrom(call, request, callOptions)
    },
  }
}
