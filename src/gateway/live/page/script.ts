/** The script of the page. It draws each snapshot, beginning with the one in the page itself. */
export const SCRIPT = String.raw`
const $ = (id) => document.getElementById(id)
const element = (name, attributes = {}, ...children) => {
  const made = document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value)
  made.append(...children)
  return made
}
/** Sets a text only if it differs, so that scroll position and selection are kept. */
const setText = (node, text) => { if (node.textContent !== text) node.textContent = text }
const count = (n) => {
  const size = Math.abs(n)
  if (size >= 1e9) return (n / 1e9).toFixed(1) + ' G'
  if (size >= 1e6) return (n / 1e6).toFixed(1) + ' M'
  if (size >= 1e5) return (n / 1e3).toFixed(0) + ' k'
  return Number.isInteger(n) ? n.toLocaleString('en') : n.toFixed(2)
}
const time = (ms) => ms === undefined ? ['–', ''] : ms < 1000 ? [String(ms), 'ms'] : [(ms / 1000).toFixed(1), 's']
const span = (ms) => {
  const s = Math.floor(ms / 1000)
  return s < 60 ? s + ' s' : s < 3600 ? Math.floor(s / 60) + ' min' : s < 86400 ? Math.floor(s / 3600) + ' h' : Math.floor(s / 86400) + ' days'
}
const share = (part, whole) => whole === 0 ? ['–', ''] : [String(Math.round(100 * part / whole)), '%']
const words = (key) => key.replace(/\./g, ' ').replace(/([a-z])([A-Z])/g, '$1 $2').toLowerCase()

function figure(id, [value, unit], under) {
  const node = $(id)
  const key = value + unit
  if (node.dataset.shown !== key) {
    node.dataset.shown = key
    node.replaceChildren(value, ...(unit ? [element('small', {}, unit)] : []))
  }
  setText($(id + '-under'), under)
}

function drawKeys({ traffic, waiting, since, at }) {
  const { lastSecond, totals, firstToken, duration, inProgress, work } = traffic
  const ended = totals.complete + totals.failed
  const watched = 'in ' + span(Math.max(0, at - since))
  const now = lastSecond.complete + lastSecond.failed + lastSecond.left
  figure('rate', [count(now), '/s'], lastSecond.failed > 0 ? count(lastSecond.failed) + ' of them failed' : 'in the last second')
  figure('complete', share(totals.complete, ended), count(totals.failed) + ' failed, ' + count(totals.left) + ' aborted ' + watched)
  figure('progress', [count(inProgress), ''], count(waiting) + ' waiting in the queue')
  figure('first', time(firstToken?.p50), 'median; 95 % within ' + time(firstToken?.p95).join(' '))
  figure('duration', time(duration?.p50), 'median; 95 % within ' + time(duration?.p95).join(' '))
  const answered = work.hits + work.misses
  figure('saved', share(work.hits, answered), count(work.joined) + ' joined, ' + count(work.retries) + ' retries, ' + count(work.hedges) + ' hedges')
}

const SVG = 'http://www.w3.org/2000/svg'
function drawCourse({ course }) {
  const most = Math.max(4, ...course.map(([a, b, c]) => a + b + c))
  const chart = $('chart')
  const missing = 120 - course.length
  const bars = []
  course.forEach((second, i) => {
    let y = 130
    for (const [name, amount] of [['complete', second[0]], ['failed', second[1]], ['left', second[2]]]) {
      if (amount === 0) continue
      const height = Math.max(1, 126 * amount / most)
      y -= height
      const bar = document.createElementNS(SVG, 'rect')
      const place = { class: name, x: (missing + i) * 10 + 1, y, width: 8, height }
      for (const [key, value] of Object.entries(place)) bar.setAttribute(key, value)
      bars.push(bar)
    }
  })
  chart.replaceChildren(...bars)
  const sum = (place) => course.reduce((all, second) => all + second[place], 0)
  setText($('most'), 'top: ' + count(most) + ' per second')
  chart.setAttribute('aria-label', 'Finished calls of the last two minutes: ' + sum(0) + ' complete, ' + sum(1) + ' failed, ' + sum(2) + ' aborted.')
}

/** The state of a layer: a CSS class and a word. */
const STATES = {
  breaker: ({ state }) => ({ closed: ['ok', 'closed'], open: ['bad', 'open'], 'half-open': ['warn', 'half-open'] })[state],
  queue: ({ running, concurrency, waiting }) => waiting > 0 ? ['warn', 'calls waiting'] : running >= concurrency ? ['warn', 'full'] : ['ok', 'slots free'],
  pool: ({ available, waiting }) => waiting > 0 ? ['warn', 'calls waiting'] : available === 0 ? ['warn', 'all in use'] : ['ok', 'ready'],
  rateLimit: ({ waiting }) => waiting > 0 ? ['warn', 'calls waiting'] : ['ok', 'within limits'],
}
const HIDDEN = { breaker: ['state'] }

function layerBox({ name, kind, stats }) {
  const figures = Object.keys(stats).filter((key) => !HIDDEN[kind]?.includes(key)).map((key) =>
    element('div', {}, element('dt', {}, words(key)), element('dd', { 'data-stat': key })))
  const title = element('h3', {}, name, ...(kind === name ? [] : [element('small', {}, ' ' + words(kind))]))
  const state = element('span', { class: 'word', ...(kind in HIDDEN ? { 'data-stat': 'state' } : {}) })
  state.hidden = !(kind in STATES)
  const note = element('p', { class: 'note', 'data-note': '' })
  return element('li', { 'data-layer': name }, element('div', { class: 'name' }, title, state), element('dl', { class: 'figures' }, ...figures), note)
}

function drawStack({ layers }) {
  const list = $('layers')
  const shape = JSON.stringify(layers.map(({ name, stats }) => [name, Object.keys(stats)]))
  if (list.dataset.shape !== shape) {
    list.dataset.shape = shape
    list.replaceChildren(...layers.map(layerBox), element('li', { class: 'end' }, element('h3', {}, 'Blossom')))
  }
  layers.forEach(({ kind, stats, note = '' }, i) => {
    const box = list.children[i]
    for (const node of box.querySelectorAll('dd')) {
      const value = stats[node.dataset.stat]
      setText(node, typeof value === 'number' ? count(value) : value)
      node.classList.toggle('zero', value === 0)
    }
    const [colour, word] = STATES[kind]?.(stats) ?? ['', '']
    box.className = colour
    const state = box.querySelector('.word')
    state.className = 'word ' + colour
    setText(state, word)
    const noteBox = box.querySelector('.note')
    setText(noteBox, note)
    noteBox.hidden = note === ''
  })
}

const row = (label, ...rest) => element('li', {}, element('span', {}, label), element('span', { class: 'figure' }, ...rest))
const pill = (colour, word) => element('span', { class: 'word ' + colour }, word)
function list(id, rows, none) {
  const text = JSON.stringify(rows.map(({ outerHTML }) => outerHTML)) + none
  const node = $(id)
  if (node.dataset.shown === text) return
  node.dataset.shown = text
  node.replaceChildren(...(rows.length > 0 ? rows : [element('li', { class: 'none' }, none)]))
}

function drawBeside({ circuits, members, tenants, limits }) {
  list('circuits', circuits.map(({ layer, key, state, resetsInMs }) =>
    row(key ?? layer, pill(state === 'half-open' ? 'warn' : 'bad', state), ...(state === 'open' ? [' half-open in ' + Math.ceil(resetsInMs / 1000) + ' s'] : []))), 'All closed.')
  list('members', members.map(({ layer, active, state }, i) =>
    row(layer + ' ' + (i + 1), count(active) + ' active ', pill(state === 'ready' ? 'ok' : 'warn', state))), 'No pool in this stack.')
  list('tenants', tenants.map(({ tenant = 'no tenant', running, waiting }) =>
    row(tenant, count(running) + ' in progress, ' + count(waiting) + ' waiting')), 'No tenants in the queue.')
  list('limits', limits.map(({ tenant = 'no tenant', unit, used, remaining }) => {
    const fill = element('meter', { min: 0, max: used + remaining, value: used, 'aria-label': unit + ' used by ' + tenant })
    return row(tenant, fill, count(used) + ' of ' + count(used + remaining) + ' ' + unit)
  }), 'No calls with a limit yet.')
}

let before
function drawShared({ at, shared }) {
  const isShared = shared !== undefined
  $('others').hidden = !isShared
  if (!isShared) return
  if (before === undefined || shared.alone > before.alone) before = { at: before === undefined ? 0 : at, alone: shared.alone }
  const isAlone = at - before.at < 10000
  list('processes', [
    row('Shared state', pill(isAlone ? 'bad' : 'ok', isAlone ? 'unreachable: each process decides alone' : 'connected')),
    row('Processes', count(shared.processes)),
    row('Decisions made alone', count(shared.alone)),
    row('Failed operations', count(shared.failures)),
  ], '')
}

function drawFailures({ failures }) {
  const body = $('failures')
  const shown = failures.map(({ at, requestId }) => at + (requestId ?? '')).join()
  if (body.dataset.shown === shown) return
  body.dataset.shown = shown
  body.replaceChildren(...failures.map(({ at, code, model = '–', status, requestId = '–' }) => element('tr', {},
    element('td', {}, new Date(at).toLocaleTimeString('en-GB')), element('td', { class: 'code' }, code),
    element('td', {}, status === undefined ? '–' : String(status)), element('td', {}, model), element('td', { class: 'id' }, requestId))))
  $('quiet').hidden = failures.length > 0
}

function draw(snapshot) {
  drawKeys(snapshot)
  drawCourse(snapshot)
  drawStack(snapshot)
  drawBeside(snapshot)
  drawShared(snapshot)
  drawFailures(snapshot)
  setText($('server'), 'up ' + span(snapshot.uptimeMs) + (snapshot.isDraining ? ', draining: new calls are rejected' : ''))
}

function setLink(colour, word) {
  const node = $('link')
  node.className = 'word ' + colour
  setText(node, word)
}

const FEED = location.pathname.replace(/\/$/, '') + '/feed'
let feed
function open() {
  if (feed !== undefined || document.hidden) return
  feed = new EventSource(FEED)
  feed.onopen = () => setLink('ok', 'live')
  feed.onmessage = ({ data }) => draw(JSON.parse(data))
  feed.onerror = () => {
    setLink('warn', 'reconnecting')
    if (feed?.readyState === EventSource.CLOSED) refused()
  }
}
/** Reloads the page if the session has ended; otherwise the server closed, so tries again later. */
async function refused() {
  feed = undefined
  const { status } = await fetch(FEED, { method: 'HEAD' }).catch(() => ({}))
  if (status === 401) location.reload()
  else setTimeout(open, 3000)
}
function close() {
  feed?.close()
  feed = undefined
  setLink('idle', 'paused')
}
document.addEventListener('visibilitychange', () => document.hidden ? close() : open())
draw(JSON.parse($('snapshot').textContent))
open()
`
