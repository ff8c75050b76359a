/** Thumbnails that the host has sent, as addresses of this page alone. */

const addresses = new Map<string, string>();

export function keepThumbnail(key: string, png: ArrayBuffer): void {
  const old = addresses.get(key);
  addresses.set(key, URL.createObjectURL(new Blob([png], { type: 'image/png' })));
  if (old !== undefined) URL.revokeObjectURL(old);
}

export function thumbnailAddress(key: string): string | undefined {
  return addresses.get(key);
}
