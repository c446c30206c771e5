import { stripVTControlCharacters } from 'node:util'

/** Text on a screen: how wide it is, and what of it may reach a screen at all. */

/** Zero width joiners, bidirectional marks and overrides: they make one name look like another. */
const INVISIBLE = /[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/gu
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/gu
const MARK = /\p{M}/u
const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/u

/** One line of somebody else's text (a hub, a cluster, a file): nothing in it moves the cursor. */
export function plainLine(text: string): string {
  return stripVTControlCharacters(text).replace(CONTROL, ' ').replace(INVISIBLE, '')
}

/** The same, keeping line ends. */
export function plainText(text: string): string {
  return text.split(/\r?\n/).map(plainLine).join('\n')
}

/** The columns a line takes, colour codes not counted. */
export function displayWidth(text: string): number {
  let width = 0
  for (const character of stripVTControlCharacters(text)) width += characterWidth(character)
  return width
}

/** Cut to at most `width` columns, with … where something was cut. `text` has no colour codes. */
export function truncate(text: string, width: number): string {
  if (displayWidth(text) <= width) return text
  if (width < 1) return ''
  let kept = ''
  let used = 0
  for (const character of text) {
    used += characterWidth(character)
    if (used > width - 1) break
    kept += character
  }
  return `${kept}…`
}

/** A link as it may be shown again: the part behind # is a secret. */
export function withoutLinkSecrets(text: string): string {
  return text.replace(/(mcm:\/\/[^\s#]*#)\S+/g, '$1…')
}

function characterWidth(character: string): number {
  if (MARK.test(character)) return 0
  return WIDE.test(character) ? 2 : 1
}
