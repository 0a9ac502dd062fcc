/** With a capital first letter, unless the text starts with a name such as `foo/httpbin`. */
export function sentence(text: string): string {
  return /^[a-z]+(?:[\s,;:]|$)/.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
}
