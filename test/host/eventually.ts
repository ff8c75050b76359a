/**
 * Polls `probe` until it gives a value other than undefined, null or false, and returns that.
 * The limit only keeps a broken run from hanging; it is no claim about speed.
 */
export async function eventually<T>(
  what: string,
  probe: () => T | Promise<T>,
  limitMs = 120_000,
): Promise<NonNullable<Exclude<T, false>>> {
  const deadline = Date.now() + limitMs;
  for (;;) {
    const value = await probe();
    if (value !== undefined && value !== null && value !== false) {
      return value as NonNullable<Exclude<T, false>>;
    }
    if (Date.now() > deadline) throw new Error(`Waited ${limitMs / 1000} s in vain for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
