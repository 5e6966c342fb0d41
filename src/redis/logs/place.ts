import type { Connection } from '../connection.js'
import { ALONE } from '../operations.js'
import { runScript, type ScriptReply } from '../run-script.js'
import type { Inbox } from './inbox.js'

/** The keys of a log in Redis, which are in one slot of a cluster. */
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
   * Runs a script after all earlier commands, without a time limit. Undoes a command that timed out
   * here but may still have been executed.
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
