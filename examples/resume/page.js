/**
 * Reads an answer to its end, even if its connection breaks: the page then asks another server for
 * the rest. After a reload it continues where it was.
 */

const show = (id) => document.getElementById(id)
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** This server, and others to try if it does not answer. */
const servers = [
  location.origin,
  ...document.querySelector('meta[name=servers]').content.split(' ').filter(Boolean),
]

/** The part of the answer that has arrived, stored for a reload. */
let answer = JSON.parse(sessionStorage.getItem('answer') ?? 'null')

function keep() {
  sessionStorage.setItem('answer', JSON.stringify(answer))
  show('answer').textContent = answer.text
  show('state').textContent = answer.state
  show('stop').disabled = answer.isOver
}

function end(state) {
  Object.assign(answer, { state, isOver: true })
  keep()
}

/** Parses the events of a body like `EventSource`, without comments. */
async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    const events = (text + value).split('\n\n')
    // The last event is incomplete.
    text = events.pop()
    for (const event of events) {
      const field = (name) => new RegExp(`^${name}: (.*)$`, 'm').exec(event)?.[1]
      if (field('id') !== undefined) yield { id: Number(field('id')), data: field('data') }
    }
  }
}

/** Handles one event. */
function take({ id, data }) {
  answer.last = id
  if (data === '[DONE]') return end('Complete.')
  const { choices, error } = JSON.parse(data)
  if (error?.code === 'stopped') return end('Stopped.')
  if (error) return end(`Failed (${error.code}): ${error.message}`)
  answer.text += choices?.[0]?.delta?.content ?? ''
  keep()
}

/**
 * Requests the rest of the answer from one server after the other; `undefined` if there is none.
 */
async function goOn() {
  for (let wait = 100; ; wait = Math.min(2 * wait, 5_000)) {
    const refusals = []
    for (const server of servers) {
      const headers = answer.last < 0 ? {} : { 'last-event-id': String(answer.last) }
      const url = `${server}/ai/v1/streams/${answer.id}`
      const response = await fetch(url, { headers }).catch(() => undefined)
      if (response?.status === 200) return response
      if ([204, 404, 410].includes(response?.status)) refusals.push(response.status)
    }
    // No reachable server has anything more.
    if (refusals.length > 0) return end('The rest of the answer is no longer available.')
    await sleep(wait)
  }
}

/** Reads until the answer is complete, from one connection after the other. */
async function read(response) {
  while (response !== undefined) {
    try {
      for await (const event of eventsOf(response.body)) take(event)
    } catch {
      // The connection broke.
    }
    if (answer.isOver) return
    answer.state = 'The connection was lost. Reconnecting …'
    keep()
    response = await goOn()
    if (response !== undefined) answer.state = `Going on, from ${new URL(response.url).origin}`
  }
}

async function ask(question) {
  const response = await fetch('ai/v1/chat/completions', {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-stream-resumable': 'true' },
    body: JSON.stringify({
      model: 'openai',
      stream: true,
      messages: [{ role: 'user', content: question }],
    }),
  })
  answer = { id: response.headers.get('x-stream-id'), last: -1, text: '', state: 'Answering …' }
  if (!response.ok) return end((await response.json()).error.message)
  keep()
  await read(response)
}

show('form').addEventListener('submit', (event) => {
  event.preventDefault()
  ask(show('question').value)
})

show('stop').addEventListener('click', async () => {
  for (const server of servers) {
    const url = `${server}/ai/v1/streams/${answer.id}`
    const response = await fetch(url, { method: 'DELETE' }).catch(() => undefined)
    if (response?.ok) return
  }
})

if (answer !== null) {
  keep()
  // The page was reloaded.
  if (!answer.isOver) goOn().then(read)
}
