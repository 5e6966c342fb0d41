/** A tool for clients that can call some. */
export const DESCRIPTION = 'Tells the weather in a city.'
export const PARAMETERS = {
  type: 'object',
  properties: { city: { type: 'string' } },
  required: ['city'],
  additionalProperties: false,
}
export const TOOLS = [
  {
    type: 'function',
    function: { name: 'weather', description: DESCRIPTION, parameters: PARAMETERS },
  },
]
