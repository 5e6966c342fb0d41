import { guideRoute, type Route, type RouteTools } from '../routes/route.js'
import type { Routing } from '../routes/routing.js'

/** `/openapi.json`. The first request builds the document, and loads the code for it. */
export function openApiRoute(
  core: Pick<RouteTools, 'options' | 'view'> & { readonly routing: Routing },
): Route {
  let text: string | undefined
  return guideRoute('GET', '/openapi.json', {
    name: 'openapi',
    async handle() {
      const { openApiDocument } = await import('./document.js')
      const options = { ...core.options, keepsAnswers: core.view.has('cache') }
      text ??= JSON.stringify(openApiDocument(core.routing.all, options))
      return {
        status: 200,
        headers: { 'content-type': 'application/json; charset=utf-8' },
        body: text,
      }
    },
  })
}
