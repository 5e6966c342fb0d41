import { rejection } from '../rejection.js'
import type { Route, RouteCall } from '../routes/route.js'
import { FieldsError, type Incoming, type Reply } from '../server/message.js'
import { eventsReply, json, openAIError } from '../server/reply.js'
import type { ResumableStreams } from './resumable-streams.js'

const PATH = '/v1/streams/{id}'

/** The message if the shared state is unreachable. */
const UNREACHABLE =
  'The state of this stream is unknown, because its storage cannot be reached. Try again.'

/** The routes of resumable streams. */
export const streamRoutes = (streams: ResumableStreams): readonly Route[] => [
  {
    name: 'v1-streams',
    method: 'GET',
    path: PATH,
    dialect: 'openai',
    spends: false,
    handle: (call) => resume(call, streams),
  },
  {
    name: 'v1-streams-stop',
    method: 'DELETE',
    path: PATH,
    dialect: 'openai',
    spends: false,
    handle: (call) => stop(call, streams),
  },
]

async function resume(call: RouteCall, streams: ResumableStreams): Promise<Reply> {
  const { id } = call
  const found = await streams.follow(
    streams.keyOf(id, call.call.tenant),
    startOf(call.incoming),
    call,
  )
  if (typeof found !== 'string') return eventsReply(found, { 'x-stream-id': id })
  if (found === 'over') return { status: 204, headers: { 'x-stream-id': id } }
  if (found === 'gone')
    throw rejection('NOT_FOUND', 410, 'This stream is no longer stored. Send the request again.')
  return missing(found)
}

async function stop({ id, call }: RouteCall, streams: ResumableStreams): Promise<Reply> {
  const stopped = await streams.stop(streams.keyOf(id, call.tenant))
  return stopped === 'stopped' ? { status: 204, headers: {} } : missing(stopped)
}

/** 404, or 503 if another server may have the stream but the shared state is unreachable. */
function missing(why: 'unknown' | 'unreachable'): Reply {
  if (why === 'unknown') throw rejection('NOT_FOUND', 404, 'There is no such stream.')
  const reply = json({ error: openAIError(503, 'NETWORK', UNREACHABLE) }, 503)
  return { ...reply, headers: { ...reply.headers, 'retry-after': '1' } }
}

/** Index of the first event to send: after the last one that the client has. */
function startOf(incoming: Incoming): number {
  const query = new URLSearchParams(/\?(.*)$/.exec(incoming.target)?.[1])
  // The header is newer: a browser's EventSource reconnects with its original URL.
  const given = [
    ['Last-Event-ID', incoming.header('last-event-id')],
    ['after', query.get('after')],
    ['starting_after', query.get('starting_after')],
  ].find(([, value]) => value)
  if (given === undefined) return 0
  const [field, value] = given as [string, string]
  if (!/^\d{1,15}$/.test(value))
    throw new FieldsError([{ field, message: 'must be the id of an event, an integer from 0' }])
  return Number(value) + 1
}
