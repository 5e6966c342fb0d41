import { LRUCache } from 'lru-cache'
import { atOnce, type Context, digest, hookFailed, now } from '../../core/index.js'
import type { Member } from './member.js'

/** How long a provider caches what it has read, since the last use. Milliseconds. */
const KEPT_MS = 5 * 60_000
/** How many conversations are remembered. */
const CONVERSATIONS_KEPT = 10_000
/**
 * How far above its share of calls a member may go before its conversations move to another:
 * consistent hashing with bounded loads, https://arxiv.org/abs/1608.01350.
 */
const MORE = 1.25

interface Place {
  readonly member: Member
  readonly usedAt: number
}

/**
 * Sends calls of one conversation to the same member, whose provider may have the conversation's
 * beginning in a cache. A new conversation goes where a weighted rendezvous hash sends it, which is
 * the same in all processes. It then stays with its last member for as long as it is remembered.
 */
export class Affinity {
  readonly #of: ((request: unknown, context: Context) => unknown) | undefined
  readonly #places = new LRUCache<string, Place>({ max: CONVERSATIONS_KEPT })

  /** @param of identifies a call's conversation. By default the base's trait does. */
  constructor(of: ((request: unknown, context: Context) => unknown) | undefined) {
    this.#of = of
  }

  /** Identifies the call's conversation; undefined when it has none. */
  conversationOf(request: unknown, context: Context): string | undefined {
    const text = this.#textOf(request, context)
    return typeof text === 'string' ? digest(context.tenant ?? '', text) : undefined
  }

  #textOf(request: unknown, context: Context): unknown {
    if (this.#of === undefined) return context.base.conversation(request)
    try {
      return atOnce(this.#of(request, context))
    } catch (error) {
      hookFailed('pool: affinity()', error)
      return undefined
    }
  }

  /** The member for a conversation; undefined when no suitable member has capacity. */
  choose(
    conversation: string,
    members: readonly Member[],
    isFit: (member: Member) => boolean,
  ): Member | undefined {
    const inProgress = members.reduce((sum, { active }) => sum + active, 0)
    const weights = members.reduce((sum, { weight }) => sum + weight, 0)
    const mayTake = (member: Member) => {
      const most = Math.ceil((MORE * (inProgress + 1) * member.weight) / weights)
      return member.active <= most && isFit(member)
    }
    const place = this.#places.get(conversation)
    if (place !== undefined && now() - place.usedAt < KEPT_MS && mayTake(place.member))
      return place.member
    let best: Member | undefined
    let bestScore = Number.NEGATIVE_INFINITY
    for (const member of members) {
      const score = scoreOf(conversation, member)
      if (score <= bestScore || !mayTake(member)) continue
      best = member
      bestScore = score
    }
    return best
  }

  /** Records that the conversation continues with this member. */
  remember(conversation: string, member: Member): void {
    this.#places.set(conversation, { member, usedAt: now() })
  }
}

/**
 * Weighted rendezvous hashing: the member with the highest score is used. Removing a member moves
 * only its own conversations.
 * https://www.snia.org/sites/default/files/SDC15_presentations/dist_sys/Jason_Resch_New_Consistent_Hashings_Rev.pdf
 */
function scoreOf(conversation: string, { identity, weight }: Member): number {
  const share = (hashOf(identity, conversation) + 0.5) / 2 ** 32
  return -weight / Math.log(share)
}

/** FNV-1a with the final step of murmur3. FNV alone gives similar texts similar hashes. */
function hashOf(...texts: string[]): number {
  let hash = 0x811c9dc5
  for (const text of texts)
    for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
