/** A token is about four characters of English. */
const CHARACTERS_A_TOKEN = 4

/** How many tokens a text of this length has, as nearly as its length tells. */
export function tokensOf(characters: number): number {
  return Math.ceil(characters / CHARACTERS_A_TOKEN)
}
