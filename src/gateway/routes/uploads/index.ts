import { ANSWER } from '../../../client/client.js'
import { Upload } from '../../../client/wire/upload.js'
import { ImageEditsRequest } from '../../schemas.js'
import { type Reply, refuseCompressed, tooLarge, unsupported } from '../../server/message.js'
import { passOn, readForwarded, replyFor } from '../forward.js'
import { admitModel } from '../guide.js'
import type { Route, RouteCall, RouteTools } from '../route.js'
import { CheckedForm } from './checked-form.js'

const EDITS = '/v1/images/edits'
const TRANSCRIPTIONS = '/v1/audio/transcriptions'

/** The content type of a form with a boundary, which is safe to forward as a header. */
const FORM = /^multipart\/form-data\s*;[\x20-\x7e]{1,300}$/i

/**
 * Forwards a form as it arrives. Nothing is stored, so the call is not retried or shared.
 */
async function forwardForm(call: RouteCall, tools: RouteTools, path: string): Promise<Reply> {
  const { incoming } = call
  const { uploadLimit, models } = tools.options
  const type = incoming.header('content-type') ?? ''
  if (!FORM.test(type))
    throw unsupported('The body must be a form with a file: send it as multipart/form-data.')
  const given = incoming.header('content-length')
  const length = given === undefined ? undefined : Number(given)
  if (length !== undefined && length > uploadLimit) throw tooLarge(uploadLimit)
  refuseCompressed(incoming)
  const bytes = incoming.parts(uploadLimit)
  if (models === undefined) return sendForm(call, tools, path, new Upload(type, bytes, length))
  const form = await CheckedForm.read(type, bytes)
  try {
    const model = await form.model()
    admitModel(model, tools)
    return await sendForm(call, tools, path, new Upload(form.contentType, form), model)
  } finally {
    form.leave()
  }
}

async function sendForm(
  call: RouteCall,
  tools: RouteTools,
  path: string,
  upload: Upload,
  model?: string,
): Promise<Reply> {
  const body = model === undefined ? undefined : { model }
  const answer = await tools.client[ANSWER]({ method: 'POST', path, body }, call.call, { upload })
  return replyFor(answer, call, { text: true })
}

/** The routes that accept files. */
export const uploadRoutes: readonly Route[] = [
  {
    name: 'v1-image-edits',
    method: 'POST',
    path: EDITS,
    dialect: 'openai',
    spends: true,
    carriesMedia: true,
    async handle(call, tools) {
      // Images may also be given by URL, in JSON.
      const isJson = /^application\/json\b/i.test(call.incoming.header('content-type') ?? '')
      if (!isJson) return forwardForm(call, tools, EDITS)
      return passOn(call, tools, EDITS, await readForwarded(call, tools, ImageEditsRequest))
    },
  },
  {
    name: 'v1-transcriptions',
    method: 'POST',
    path: TRANSCRIPTIONS,
    dialect: 'openai',
    spends: true,
    handle: (call, tools) => forwardForm(call, tools, TRANSCRIPTIONS),
  },
]
