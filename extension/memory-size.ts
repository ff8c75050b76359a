/** Sizes of files and memory for a person. */

/** "2.3 MiB", "418 MiB", "2.4 GiB". */
export function memorySize(bytes: number): string {
  const mebibytes = bytes / 2 ** 20;
  if (mebibytes >= 1000) return `${(mebibytes / 1024).toFixed(1)} GiB`;
  return `${mebibytes.toFixed(mebibytes < 10 ? 1 : 0)} MiB`;
}
