import { SCRIPT } from './script.js'
import { STYLE } from './style.js'

/** A small flower, inlined so that the page loads nothing. */
const ICON =
  "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 10 10'%3E%3Cg fill='%231f6f54'%3E%3Ccircle cx='5' cy='2.4' r='2'/%3E%3Ccircle cx='2.4' cy='4.4' r='2'/%3E%3Ccircle cx='7.6' cy='4.4' r='2'/%3E%3Ccircle cx='3.4' cy='7.4' r='2'/%3E%3Ccircle cx='6.6' cy='7.4' r='2'/%3E%3C/g%3E%3Ccircle cx='5' cy='5' r='1.5' fill='%23f0b45b'/%3E%3C/svg%3E"

/** The content security policy: inline script and style, and requests to this server only. */
export const policyOf = (nonce: string): string =>
  [
    "default-src 'none'",
    `script-src 'nonce-${nonce}'`,
    `style-src 'nonce-${nonce}'`,
    'img-src data:',
    "connect-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
  ].join('; ')

const document = (nonce: string, body: string) => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Blossom, live</title>
<link rel="icon" href="${ICON}">
<style nonce="${nonce}">${STYLE}</style>
</head>
<body>
${body}
</body>
</html>
`

/** The sign-in form. `wrong` is the message about the last attempt. */
export const loginPage = (nonce: string, wrong?: string): string =>
  document(
    nonce,
    `<main class="enter"><section class="card">
<h1>Blossom, live</h1>
<p>A live view of this server's stack, updated every second.</p>
<form method="post">
<label for="token">Admin token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus${wrong === undefined ? '' : ' aria-describedby="wrong"'}>
${wrong === undefined ? '' : `<p class="wrong" id="wrong" role="alert">${wrong}</p>`}
<button>Show the page</button>
</form>
</section></main>`,
  )

const key = (id: string, label: string) =>
  `<div><dt>${label}</dt><dd id="${id}" data-stat="${id}">–</dd><dd class="under" id="${id}-under"></dd></div>`

const card = (id: string, title: string) =>
  `<section class="card" aria-labelledby="${id}-title"><h2 id="${id}-title">${title}</h2><ul class="list" id="${id}"></ul></section>`

/** The page, with its first snapshot. */
export const livePage = (nonce: string, first: string): string =>
  document(
    nonce,
    `<a class="skip" href="#stack">Skip to the stack</a>
<header>
<h1>Blossom, live</h1>
<p id="server"></p>
<p id="link" class="word idle" role="status">connecting</p>
<form method="post"><input type="hidden" name="leave" value="yes"><button>Sign out</button></form>
</header>
<main>
<section aria-labelledby="key-title"><h2 id="key-title" class="skip">Key figures</h2>
<dl class="card key">
${key('rate', 'Calls')}
${key('complete', 'Complete')}
${key('progress', 'In progress')}
${key('first', 'First token')}
${key('duration', 'Whole answer')}
${key('saved', 'From the cache')}
</dl></section>
<section class="card course" aria-labelledby="course-title">
<div class="head"><h2 id="course-title">Finished calls per second</h2>
<ul class="legend"><li><i class="complete"></i>complete</li><li><i class="failed"></i>failed</li><li><i class="left"></i>aborted by the caller</li></ul></div>
<svg id="chart" viewBox="0 0 1200 130" preserveAspectRatio="none" role="img" aria-label="No calls yet."></svg>
<div class="axis"><span>2 min ago</span><span id="most"></span><span>now</span></div>
</section>
<div class="halves">
<section class="card" id="stack" tabindex="-1" aria-labelledby="stack-title"><h2 id="stack-title">The stack, from the caller to Blossom</h2><ol id="layers"></ol></section>
<div class="beside">
${card('circuits', 'Circuits that are not closed')}
${card('members', 'Pool members')}
${card('tenants', 'Tenants in the queue')}
${card('limits', 'Limits')}
<div id="others" hidden>${card('processes', 'Other processes')}</div>
</div>
</div>
<section class="card" aria-labelledby="failures-title"><h2 id="failures-title">The last 50 failures</h2>
<div class="scroll" tabindex="0" role="group" aria-label="Failures, newest first">
<table><thead><tr><th scope="col">Time</th><th scope="col">Code</th><th scope="col">Status</th><th scope="col">Model</th><th scope="col">Request</th></tr></thead><tbody id="failures"></tbody></table>
<p class="none" id="quiet">No failures since this page was opened.</p>
</div></section>
</main>
<script type="application/json" id="snapshot" nonce="${nonce}">${first.replaceAll('<', '\\u003c')}</script>
<script nonce="${nonce}">${SCRIPT}</script>`,
  )
