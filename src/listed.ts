/** Names in a message, which is no place for ten thousand of them. Pure. */
const MOST = 20;

/** `a, b, c`, or `a, b, c, ... and 9,980 more`. */
export function listed(names: readonly string[]): string {
  if (names.length <= MOST) return names.join(', ');
  const more = (names.length - MOST).toLocaleString('en');
  return `${names.slice(0, MOST).join(', ')}, ... and ${more} more`;
}
