import { isRecord } from '../../core/index.js'
import { ProtocolError } from '../errors.js'
import type { Blossom } from '../interface.js'
import type { JsonAnswer, Model } from '../types.js'
import { Outgoing } from '../wire/outgoing.js'
import { BALANCE, MODELS, modelsIn } from '../wire/shapes.js'
import { dataOf } from './answers.js'
import type { Call } from './call.js'

/** `models.list`. */
export function modelEndpoints(call: Call): Blossom['models'] {
  return {
    list: async (options = {}) => {
      const request = new Outgoing('GET', MODELS, undefined, 'json')
      const list = modelsIn(dataOf(await call<JsonAnswer>(request, options)))
      if (list === undefined)
        throw new ProtocolError('Upstream answered with something other than a list of models.')
      return list as Model[]
    },
  }
}

/** `account.balance`. */
export function accountEndpoints(call: Call): Blossom['account'] {
  return {
    balance: async (options = {}) => {
      const request = new Outgoing('GET', BALANCE, undefined, 'json')
      const data = dataOf(await call<JsonAnswer>(request, options))
      if (!isRecord(data) || typeof data.balance !== 'number')
        throw new ProtocolError('Upstream answered with something other than a balance.')
      return { balance: data.balance }
    },
  }
}
