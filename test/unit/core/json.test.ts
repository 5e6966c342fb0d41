import { describe, expect, it } from 'vitest'
import { isJson, Json, parseJson, readJson } from '../../../src/core/json.js'

describe('parseJson', () => {
  it.each([
    ['plainly', '{"__proto__":{"polluted":1},"a":1}'],
    ['with an escape', '{"\\u005f_proto__":{"polluted":1},"a":1}'],
    ['with an escape in capitals', '{"_\\u005Fproto__":{"polluted":1},"a":1}'],
  ])('leaves out a field named __proto__ when it is written %s', (_, text) => {
    const parsed = parseJson(text) as Record<string, unknown>
    expect(Object.getOwnPropertyNames(parsed)).toEqual(['a'])
    expect(parsed.polluted).toBeUndefined()
  })

  it('keeps __proto__ inside text, next to other escapes', () => {
    expect(parseJson('{"text":"the \\u00e9tude of __proto__ and \\u005f"}')).toEqual({
      text: 'the étude of __proto__ and _',
    })
  })
})

describe('readJson', () => {
  it('keeps the text as received', () => {
    const text = '{ "a": [1, "\\u00e9"] }'
    expect(readJson(text).text).toBe(text)
    expect(readJson(text).value).toEqual({ a: [1, 'é'] })
  })

  it('rewrites the text without a field named __proto__', () => {
    const json = readJson('{"\\u005f_proto__":{"polluted":1},"a":1}')
    expect(json.text).toBe('{"a":1}')
    expect(json.take()).toEqual({ a: 1 })
  })

  it('throws for text that is not JSON', () => {
    expect(() => readJson('{"a":')).toThrow(SyntaxError)
  })
})

describe('Json', () => {
  it('gives the parsed object to the first taker, and every later one a separate object', () => {
    const parsed = { list: [1] }
    const json = new Json('{"list":[1]}', parsed)
    expect(json.take()).toBe(parsed)
    parsed.list.push(2)
    const [second, third] = [json.take(), json.take()]
    expect(second).toEqual({ list: [1] })
    expect(third).toEqual(second)
    expect(third).not.toBe(second)
  })

  it('parses only when the value is read', () => {
    const json = new Json('no JSON')
    expect(json.text).toBe('no JSON')
    expect(() => json.value).toThrow(SyntaxError)
  })

  it('gives every reader of the value the same object', () => {
    const json = new Json('{"a":1}')
    expect(json.value).toBe(json.value)
    const seen = json.value
    json.drop()
    expect(json.value).not.toBe(seen)
    expect(json.value).toEqual(seen)
  })

  it('provides the text of a value given as an object', () => {
    const value = { a: 1 }
    const json = Json.of(value)
    expect(json.text).toBe('{"a":1}')
    expect(json.take()).toBe(value)
    value.a = 2
    expect(json.take()).toEqual({ a: 1 })
    json.drop()
    expect(Json.of(undefined).text).toBe('null')
  })

  it('gives its value away only once, even when the text was never read', () => {
    const value = { a: 1 }
    const json = Json.of(value)
    json.drop()
    expect(json.take()).toBe(value)
    expect(json.take()).toEqual(value)
    expect(json.take()).not.toBe(value)
  })

  it('is serialised by JSON.stringify as the value it holds', () => {
    expect(JSON.stringify({ data: new Json('{"a":1}') })).toBe('{"data":{"a":1}}')
  })

  it('is recognised by its brand, not by its fields, whichever copy of the library made it', () => {
    expect(isJson(new Json('1'))).toBe(true)
    for (const other of [{ text: '1' }, null, 'text', undefined]) expect(isJson(other)).toBe(false)
  })
})
