import type { Batches } from '../../../batches/index.js'
import { BATCHES, type BatchesInternals } from '../../../batches/internals.js'
import type { JobFile, JobsState } from '../../../core/index.js'
import { rejection } from '../../rejection.js'
import { requireAdmin } from '../admin.js'
import type { RouteCall, RouteTools } from '../route.js'

/** The batches and files of the caller; those of other tenants are not visible. */
export class BatchScope {
  readonly batches: BatchesInternals
  readonly owner: string

  private constructor(batches: BatchesInternals, owner: string) {
    this.batches = batches
    this.owner = owner
  }

  /** Batches without a tenant belong to the operator, so they need the admin token. */
  static of({ incoming, call }: RouteCall, { options }: RouteTools): BatchScope {
    if (call.tenant === undefined)
      requireAdmin(incoming, options, {
        none: 'Files and batches belong to a tenant, but this request has none.',
        missing: 'Without a tenant, files and batches require the admin token as a Bearer token.',
      })
    const batches = options.batches as Batches & { [BATCHES]: BatchesInternals }
    return new BatchScope(batches[BATCHES], call.tenant ?? '')
  }

  async batch(id: string): Promise<JobsState> {
    const { batches } = this
    const state = await batches.ask(() => batches.jobs.get(id))
    if (state?.owner !== this.owner) throw notFound('batch')
    return state
  }

  async file(id: string): Promise<JobFile> {
    const { batches } = this
    const file = await batches.ask(() => batches.jobs.files.get(id))
    if (file?.owner !== this.owner) throw notFound('file')
    return file
  }
}

export const notFound = (what: string) => rejection('NOT_FOUND', 404, `There is no such ${what}.`)
