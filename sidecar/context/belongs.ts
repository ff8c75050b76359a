/** Which files belong in a prompt. What does not is never dropped silently: it gets a reason, which the user sees. */

export type LeftOutReason =
  | 'budget'
  | 'binary'
  | 'dropped'
  | 'generated'
  | 'large'
  | 'secret'
  | 'lock-file'
  | 'link'
  | 'repository'
  | 'unreadable';

export const MAX_FILE_BYTES = 512 * 1024;

const LOCK_FILES =
  /(^|\/)(package-lock\.json|npm-shrinkwrap\.json|yarn\.lock|pnpm-lock\.yaml|bun\.lockb?|deno\.lock|Cargo\.lock|poetry\.lock|Pipfile\.lock|uv\.lock|pdm\.lock|composer\.lock|Gemfile\.lock|go\.sum|flake\.lock|mix\.lock|pubspec\.lock|Podfile\.lock|packages\.lock\.json|gradle\.lockfile)$/;
const SECRET_FILES =
  /(^|\/)(\.env(\.(?!example$|sample$|template$)[^/]*)?|\.netrc|\.npmrc|\.pypirc|\.pgpass|\.htpasswd|id_(rsa|dsa|ecdsa|ed25519)|credentials|secrets?\.(ya?ml|json|toml)|[^/]*\.(pem|key|p12|pfx|jks|keystore|kdbx|ppk|asc|gpg))$/i;
const BINARY_FILES =
  /\.(png|jpe?g|gif|bmp|ico|webp|avif|tiff?|psd|pdf|zip|gz|tgz|bz2|xz|zst|7z|rar|jar|war|class|o|a|so|dylib|dll|exe|node|wasm|pyc|pyd|ttf|otf|woff2?|eot|mp[34]|m4a|wav|ogg|flac|avi|mov|webm|mkv|sqlite3?|db|bin|dat|gguf|safetensors|npy|npz|pt|onnx|parquet|vsix)$/i;
const GENERATED_FILES =
  /(\.min\.(js|css|mjs)|\.(js|css|mjs)\.map|[.-]bundle\.js|_pb2\.pyi?|\.pb\.(go|cc|h)|\.snap)$/i;
const GENERATED_MARK = /@generated\b|\bDO NOT EDIT\b|automatically generated|auto-?generated (by|file|from)/i;
const PRIVATE_KEY = /-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----/;

/** What the name and size alone decide, before the file is read. */
export function leftOutByName(path: string, bytes: number): LeftOutReason | null {
  if (SECRET_FILES.test(path)) return 'secret';
  if (LOCK_FILES.test(path)) return 'lock-file';
  if (BINARY_FILES.test(path)) return 'binary';
  if (GENERATED_FILES.test(path)) return 'generated';
  if (bytes > MAX_FILE_BYTES) return 'large';
  return null;
}

/** Lines this long on average are written by programs. */
const MINIFIED_LINE = 500;
/** Git's own rule: a zero byte early on makes a file binary. */
const SNIFFED_BYTES = 8000;
/** Where generators put their notice. */
const NOTICE_LENGTH = 1000;

/** What the content decides; otherwise its text, with line feeds only and no byte order mark. `pinned` admits generated files. */
export function textOrReason(
  content: Buffer,
  pinned = false,
): { readonly text: string } | { readonly reason: LeftOutReason } {
  if (content.subarray(0, SNIFFED_BYTES).includes(0)) return { reason: 'binary' };
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(content);
  } catch {
    // Not UTF-8. Old encodings of Western text still read well enough; what has many odd bytes is not text.
    text = content.toString('latin1');
    const odd = text.match(/[^\P{Cc}\t\n\v\f\r]/gu)?.length ?? 0;
    if (odd > text.length / 100) return { reason: 'binary' };
  }
  const clean = text.replace(/\r\n?/g, '\n');
  if (PRIVATE_KEY.test(clean)) return { reason: 'secret' };
  if (pinned) return { text: clean };
  if (GENERATED_MARK.test(clean.slice(0, NOTICE_LENGTH).split('\n').slice(0, 8).join('\n'))) {
    return { reason: 'generated' };
  }
  const lines = clean.split('\n').length;
  if (clean.length > 5000 && clean.length / lines > MINIFIED_LINE) return { reason: 'generated' };
  return { text: clean };
}
