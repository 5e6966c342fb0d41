import { createGateway, toNode } from 'blossom-stack/http'

/** Call it in `configure(consumer)` of a module. */
export function mount(consumer, blossom, options) {
  const gateway = createGateway(blossom, { ...options, prefix: '/ai' })
  consumer.apply(toNode(gateway)).forRoutes('ai')
  return gateway
}
