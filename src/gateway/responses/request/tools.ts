import { isRecord } from '../../../core/index.js'
import { refusal } from './refusal.js'

type Fields = Readonly<Record<string, unknown>>

/** Translates the tools of a request and the choice among them. */
export function toolsOf({ tools, tool_choice, parallel_tool_calls }: Fields): Fields {
  const all = listOf(tools)
  const { choice, names } = choiceOf(tool_choice)
  const allowed = names === undefined ? all : all.filter(({ name }) => names.has(name))
  // Servers reject `tool_choice` without tools.
  if (allowed.length === 0) return {}
  return {
    tools: allowed.map(({ name, description, parameters, strict }) => ({
      type: 'function',
      function: {
        name,
        ...(typeof description === 'string' && { description }),
        ...(isRecord(parameters) && { parameters }),
        ...(typeof strict === 'boolean' && { strict }),
      },
    })),
    ...(choice !== undefined && { tool_choice: choice }),
    ...(typeof parallel_tool_calls === 'boolean' && { parallel_tool_calls }),
  }
}

function listOf(tools: unknown): readonly Fields[] {
  if (tools === undefined || tools === null) return []
  if (!Array.isArray(tools)) throw refusal('tools', 'must be a list.')
  return tools.map((tool: unknown, index) => {
    const at = `tools[${index}]`
    if (!isRecord(tool)) throw refusal(at, 'must be an object.')
    if (tool.type !== 'function')
      throw refusal(`${at}.type`, 'only functions are supported, not tools that the server runs.')
    if (typeof tool.name !== 'string') throw refusal(`${at}.name`, 'must be a string.')
    return tool
  })
}

/** `names` are the tools that the model may choose from, if not all of them. */
function choiceOf(choice: unknown): {
  readonly choice?: unknown
  readonly names?: ReadonlySet<unknown>
} {
  if (choice === undefined || choice === null) return {}
  if (choice === 'auto' || choice === 'none' || choice === 'required') return { choice }
  if (isRecord(choice) && choice.type === 'function' && typeof choice.name === 'string')
    return { choice: { type: 'function', function: { name: choice.name } } }
  if (isRecord(choice) && choice.type === 'allowed_tools' && Array.isArray(choice.tools)) {
    const names = new Set(choice.tools.filter(isRecord).map(({ name }) => name))
    return { choice: choice.mode === 'required' ? 'required' : 'auto', names }
  }
  throw refusal('tool_choice', 'must be "auto", "none", "required" or a function of `tools`.')
}
