import { onTestFinished } from 'vitest'
import { onEvent, type StackEvent, type StackEventType } from '../../src/core/index.js'

/** All events from now on, until the test ends. */
export function recordedEvents(): StackEvent[] {
  const events: StackEvent[] = []
  onTestFinished(onEvent((event) => events.push(event)))
  return events
}

/** An event without what differs from run to run. */
export function told({ call: _call, at: _at, stack: _stack, ...rest }: StackEvent): object {
  return rest
}

export const types = (events: readonly { type: string }[]) => events.map(({ type }) => type)

export const ofType = <Type extends StackEventType>(events: readonly StackEvent[], type: Type) =>
  events.filter((event): event is Extract<StackEvent, { type: Type }> => event.type === type)
