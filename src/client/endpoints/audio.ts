import { isRecord, rules } from '../../core/index.js'
import { checkPrompt, readArguments } from '../arguments.js'
import { ProtocolError } from '../errors.js'
import type { Blossom } from '../interface.js'
import type {
  FileInput,
  JsonAnswer,
  SpeechOptions,
  TranscribeOptions,
  Transcript,
} from '../types.js'
import { formOf, readFile } from '../wire/form.js'
import { Outgoing } from '../wire/outgoing.js'
import { askWithHeaders, bytesFrom, dataOf } from './answers.js'
import type { Call } from './call.js'

type SpeechFields = Pick<SpeechOptions, 'model' | 'voice' | 'responseFormat' | 'speed'>

const speechRules = {
  model: rules.text(undefined),
  voice: rules.text('alloy'),
  responseFormat: rules.text(undefined),
  speed: rules.number(undefined, { min: 0.25, max: 4 }),
}

type TranscribeFields = Pick<
  TranscribeOptions,
  'model' | 'filename' | 'language' | 'prompt' | 'temperature'
>

const transcribeRules = {
  model: rules.text(undefined),
  filename: rules.text(undefined),
  language: rules.text(undefined),
  prompt: rules.text(undefined),
  temperature: rules.number(undefined, { min: 0, max: 1 }),
}

async function transcribe(
  call: Call,
  file: FileInput,
  options: TranscribeOptions | undefined,
): Promise<Transcript> {
  const method = 'audio.transcribe'
  const { fields, call: callOptions } = readArguments<TranscribeFields>(
    method,
    options,
    transcribeRules,
  )
  const { model, filename, language, prompt, temperature } = fields
  const given = await readFile(method, file, 'audio.wav')
  const upload = formOf([
    ['model', model],
    ['language', language],
    ['prompt', prompt],
    ['temperature', temperature === undefined ? undefined : String(temperature)],
    ['file', filename === undefined ? given : { ...given, filename }],
  ])
  const request = new Outgoing('POST', '/v1/audio/transcriptions', { model }, 'json', { upload })
  const { answer, headers } = await askWithHeaders<JsonAnswer>(call, request, callOptions)
  const data = dataOf(answer)
  if (!isRecord(data) || typeof data.text !== 'string')
    throw new ProtocolError('Upstream answered with something other than a transcript.')
  return { ...data, text: data.text, headers }
}

/** `audio.speech` and `audio.transcribe`. */
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
      return bytesFrom(call, request, callOptions)
    },
    transcribe: (file, options) => transcribe(call, file, options),
  }
}
