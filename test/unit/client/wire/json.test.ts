import { describe, expect, it } from 'vitest'
import { parseJson, textOfList } from '../../../../src/client/wire/json.js'

describe('parseJson', () => {
  it.each([
    ['plainly', '{"__proto__":{"polluted":1},"a":1}'],
    ['with an escape', '{"\\u005f_proto__":{"polluted":1},"a":1}'],
    ['with an escape in capitals', '{"_\\u005Fproto__":{"polluted":1},"a":1}'],
  ])('leaves out a field named __proto__ that is written %s', (_, text) => {
    const parsed = parseJson(text) as Record<string, unknown>
    expect(Object.getOwnPropertyNames(parsed)).toEqual(['a'])
    expect(parsed.polluted).toBeUndefined()
  })

  it('keeps the words as text, with other escapes beside them', () => {
    expect(parseJson('{"text":"the \\u00e9tude of __proto__ and \\u005f"}')).toEqual({
      text: 'the étude of __proto__ and _',
    })
  })
})

describe('textOfList', () => {
  it('gives a list that reads as its items do, one by one', () => {
    const items = [
      '{"a":[1, "\\u00e9"]}',
      ' {"b":\n2}',
      'null',
      '{"c":"text of __proto__"}',
      '{"__proto__":{"polluted":1},"d":1}',
    ]
    expect(JSON.parse(textOfList(items))).toEqual(items.map(parseJson))
    expect(textOfList([])).toBe('[]')
  })

  it('leaves out a field named __proto__, as parseJson does', () => {
    expect(textOfList(['{"\\u005f_proto__":{"polluted":1},"a":1}'])).toBe('[{"a":1}]')
  })
})
