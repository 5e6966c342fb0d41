import { VERSION } from '../../client/version.js'
import { ConfigError } from '../../core/index.js'
import { rejection } from '../rejection.js'
import type { Reply } from '../server/message.js'
import { findViewer, VIEWER, VIEWER_FILES, type Viewer } from './docs-viewer.js'
import { guideRoute, type Route, type RouteCall, type RouteTools } from './route.js'

/**
 * Allows only files and requests of this server. Swagger UI also needs inline styles, `data:`
 * images in its style sheet, and `blob:` URLs to show images and audio.
 */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data: blob:",
  'media-src blob:',
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

/** All URLs are relative, so that the page works behind any mount or proxy. */
const page = (tag: string) => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Blossom gateway</title>
<link rel="icon" type="image/png" sizes="32x32" href="docs/favicon-32x32.png?v=${tag}">
<link rel="stylesheet" href="docs/swagger-ui.css?v=${tag}">
<link rel="stylesheet" href="docs/page.css?v=${tag}">
</head>
<body>
<div id="docs"></div>
<noscript>This page needs JavaScript; the document itself is <a href="openapi.json">openapi.json</a>.</noscript>
<script src="docs/swagger-ui-bundle.js?v=${tag}"></script>
<script src="docs/page.js?v=${tag}"></script>
</body>
</html>
`

/** `validatorUrl` is off, because the badge would send this server's address to another host. */
const SCRIPT = `SwaggerUIBundle({
  url: 'openapi.json',
  dom_id: '#docs',
  deepLinking: true,
  validatorUrl: null,
  queryConfigEnabled: false,
  persistAuthorization: false,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
})
`

const STYLE = `body { margin: 0; background: #fafafa; }
noscript { display: block; padding: 2rem; font-family: sans-serif; }
`

const OWN_FILES = {
  'page.js': ['text/javascript; charset=utf-8', SCRIPT],
  'page.css': ['text/css; charset=utf-8', STYLE],
} as const

/**
 * `/docs`, a page that shows the OpenAPI document, and the files it needs. Each file has its own
 * route, so that no part of a URL becomes a file path.
 *
 * @throws ConfigError if `routes` names the page and it cannot be served
 */
export function docsRoutes({ options: { routes } }: Pick<RouteTools, 'options'>): readonly Route[] {
  let found: { readonly viewer: Viewer | undefined } | undefined
  const look = () => {
    found ??= { viewer: findViewer() }
    return found.viewer
  }
  if (routes?.includes('docs')) {
    if (!routes.includes('openapi'))
      throw new ConfigError('createGateway: the route "docs" needs the route "openapi".')
    if (look() === undefined)
      throw new ConfigError(
        `createGateway: the route "docs" needs the package ${VIEWER}. Install it with \`npm install ${VIEWER}\`.`,
      )
  }
  const viewer = (): Viewer => {
    const installed = look()
    if (installed !== undefined) return installed
    const sentence = `This page needs the package ${VIEWER} on the server: npm install ${VIEWER}`
    throw rejection('NOT_FOUND', 404, sentence)
  }
  /** Changes with the version of the viewer or of this package. */
  const tag = () => `${viewer().version}-${VERSION}`
  const file = (name: string, type: string, read: () => string | Promise<Uint8Array>): Route =>
    guideRoute('GET', `/docs/${name}`, {
      name: 'docs',
      undocumented: true,
      async handle({ incoming }: RouteCall): Promise<Reply> {
        // A URL with the version can be cached forever.
        const isPinned = incoming.target.endsWith(`?v=${tag()}`)
        const headers = {
          'content-type': type,
          'cache-control': isPinned ? 'public, max-age=31536000, immutable' : 'no-cache',
        }
        return { status: 200, headers, body: await read() }
      },
    })
  const handle = async (): Promise<Reply> => {
    const headers = {
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': POLICY,
      'cache-control': 'no-cache',
    }
    return { status: 200, headers, body: page(tag()) }
  }
  return [
    guideRoute('GET', '/docs', { name: 'docs', handle }),
    ...Object.entries(VIEWER_FILES).map(([name, type]) =>
      file(name, type, () => viewer().read(name as keyof typeof VIEWER_FILES)),
    ),
    ...Object.entries(OWN_FILES).map(([name, [type, content]]) => file(name, type, () => content)),
  ]
}
