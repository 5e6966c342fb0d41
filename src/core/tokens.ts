/** A token is about four characters of English. */
const CHARACTERS_A_TOKEN = 4

/** Estimates the number of tokens from a text's length. */
export function tokensOf(characters: number): number {
  return Math.ceil(characters / CHARACTERS_A_TOKEN)
}
