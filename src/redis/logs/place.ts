import type { Connection } from '../connection.js'
import { ALONE } from '../operations.js'
import { runScript, type ScriptReply } from '../run-script.js'
import type { Inbox } from './inbox.js'

/** Where a log is in Redis: its keys, which are in one slot of a cluster. */
export class LogPlace {
  readonly key: string
  readonly inbox: Inbox
  readonly #connection: Connection

  constructor(connection: Connection, inbox: Inbox, key: string) {
    this.#connection = connection
    this.inbox = inbox
    this.key = key
  }

  run(script: string, ...args: (string | number)[]): Promise<ScriptReply | typeof ALONE> {
    return this.#connection.run((client) => runScript(client, script, this.#keys, args))
  }

  /**
   * Runs behind everything that has been asked before, however long that takes: it undoes what may
   * have come about although nobody waited for it any more.
   */
  async undo(script: string, ...args: (string | number)[]): Promise<ScriptReply> {
    const reply = await this.#connection.later((client) =>
      runScript(client, script, this.#keys, args),
    )
    return reply === ALONE ? [] : reply
  }

  get #keys(): string[] {
    return [this.key, `${this.key}:entries`, `${this.key}:readers`]
  }
}
