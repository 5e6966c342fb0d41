/** The whole answer to a prompt: it says itself to which one it belongs, and where it ends. */
export function answerTo(prompt: string): string {
  const words = Array.from({ length: 12 }, (_, i) => `${prompt.length}-${i}`)
  return `To “${prompt}”: ${words.join(' ')} end.`
}
