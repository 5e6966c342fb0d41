/** The whole text of a stream. */
export async function textOf(stream: AsyncIterable<{ text: string }>): Promise<string> {
  let text = ''
  for await (const piece of stream) text += piece.text
  return text
}

/** What a stream gave, and how it ended. */
export async function readText(
  stream: AsyncIterable<{ text: string }>,
): Promise<{ text: string; error: unknown }> {
  let text = ''
  try {
    for await (const piece of stream) text += piece.text
  } catch (error) {
    return { text, error }
  }
  return { text, error: undefined }
}
