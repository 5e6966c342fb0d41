import { rules } from '../../core/index.js'
import { checkPrompt, readArguments } from '../arguments.js'
import type { Blossom } from '../interface.js'
import type { BytesAnswer, SpeechOptions } from '../types.js'
import { Outgoing } from '../wire/outgoing.js'
import { bytesOf } from './answers.js'
import type { Call } from './call.js'

type SpeechFields = Pick<SpeechOptions, 'model' | 'voice' | 'responseFormat' | 'speed'>

const speechRules = {
  model: rules.text(undefined),
  voice: rules.text('alloy'),
  responseFormat: rules.text(undefined),
  speed: rules.number(undefined, { min: 0.25, max: 4 }),
}

/** `audio.speech`. */
export function audioEndpoints(call: Call): Blossom['audio'] {
  return {
    speech: async (text, options) => {
      const { fields, call: callOptions } = readArguments<SpeechFields>(
        'audio.speech',
        options,
        speechRules,
      )
      const body = {
        model: fields.model,
        input: checkPrompt('audio.speech', text),
        voice: fields.voice,
        response_format: fields.responseFormat,
        speed: fields.speed,
      }
      const request = new Outgoing('POST', '/v1/audio/speech', body, 'bytes')
      return bytesOf(await call<BytesAnswer>(request, callOptions))
    },
  }
}
